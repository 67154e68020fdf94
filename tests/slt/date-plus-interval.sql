SELECT count(*) FROM events WHERE date + INTERVAL '1 month' > '2026-09-15'
