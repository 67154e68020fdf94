SELECT event_id FROM events WHERE amount > 1000 AND tenant_id > 't'
