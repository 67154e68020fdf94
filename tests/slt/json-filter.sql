SELECT event_id FROM events WHERE (payload->>'ip') = '10.0.0.3' AND date < '2026-08-03' ORDER BY 1
