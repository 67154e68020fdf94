SELECT date - INTERVAL '1 day' AS before, max(amount) FROM events GROUP BY date ORDER BY before
