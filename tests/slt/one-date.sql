SELECT event_id, date FROM events WHERE date = '2026-08-02' ORDER BY event_id
