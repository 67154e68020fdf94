SELECT DISTINCT event_type, ok FROM events WHERE tenant_id < 't04' ORDER BY 1, 2
