SELECT event_id, ts FROM events WHERE tenant_id = 't03' ORDER BY event_id
