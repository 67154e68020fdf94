SELECT event_id FROM events WHERE amount > 20 AND tenant_id = 't05' AND event_type = 'click' ORDER BY 1
