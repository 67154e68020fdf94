SELECT ts, event_id FROM events ORDER BY ts DESC, event_id LIMIT 9
