SELECT date, count(*) AS n FROM events GROUP BY date HAVING count(*) > 3 ORDER BY date
