SELECT event_id, amount FROM events WHERE amount > 20 ORDER BY event_id
