SELECT count(*), min(ts) FROM events WHERE tenant_id = 'nobody'
