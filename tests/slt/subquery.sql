SELECT count(*) FROM events a WHERE a.amount > (SELECT avg(amount) FROM events b WHERE b.tenant_id = 't01')
