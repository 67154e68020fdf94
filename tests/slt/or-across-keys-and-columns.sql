SELECT event_id FROM events WHERE tenant_id = 't00' OR "userId" = 4 OR date = '2026-08-31' ORDER BY 1
