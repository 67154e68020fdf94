SELECT count(*) FROM events WHERE "userId" IS NOT NULL AND NOT ok
