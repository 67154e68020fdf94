SELECT tenant_id, event_type, count(*), sum(amount), avg("userId") FROM events GROUP BY 1, 2 ORDER BY 1, 2
