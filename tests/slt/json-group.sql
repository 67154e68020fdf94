SELECT payload->>'ip' AS ip, count(*) FROM events GROUP BY ip ORDER BY ip
