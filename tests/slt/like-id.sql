SELECT event_id FROM events WHERE event_id LIKE 'e0_5' ORDER BY 1
