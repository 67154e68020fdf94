SELECT date_trunc('month', ts) AS month, count(*) FROM events GROUP BY month ORDER BY month
