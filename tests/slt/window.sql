SELECT tenant_id, row_number() OVER (PARTITION BY tenant_id ORDER BY ts, event_id) AS place, event_id FROM events WHERE date = '2026-09-01' ORDER BY 1, 2
