SELECT ts, event_id FROM events ORDER BY ts, event_id LIMIT 9
