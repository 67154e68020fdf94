SELECT event_id FROM events WHERE date BETWEEN '2026-08-31' AND '2026-09-01' AND tenant_id IN ('t01', 't07') ORDER BY 1
