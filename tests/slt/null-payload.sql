SELECT count(*) FROM events WHERE payload IS NULL AND ok
