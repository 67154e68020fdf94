SELECT a.event_id, b.event_id FROM events a JOIN events b ON a.tenant_id = b.tenant_id AND a.date = b.date WHERE a."userId" = 3 AND b.amount > 24 ORDER BY 1, 2
