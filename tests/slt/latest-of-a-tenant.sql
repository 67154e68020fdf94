SELECT ts, event_id, tenant_id FROM events WHERE tenant_id = 't02' ORDER BY ts DESC, event_id LIMIT 3 OFFSET 2
