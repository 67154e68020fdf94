SELECT count(*), count("userId"), count(payload), min(ts), max(ts), min(date), max(tenant_id) FROM events
