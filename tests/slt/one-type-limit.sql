SELECT event_id, tenant_id FROM events WHERE event_type = 'a b' ORDER BY event_id LIMIT 17
