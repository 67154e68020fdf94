SELECT event_id FROM events WHERE tenant_id LIKE '%7' OR event_type = 'a b' AND date = '2026-09-01' ORDER BY 1
