SELECT event_id FROM events WHERE "userId" IN (1, 2) AND tenant_id NOT IN ('t00', 't01') ORDER BY 1
