-- All that the stream brought, by kind; a line in quarantine counts in the minute in which Kafka took it.
CREATE VIEW records_per_minute AS
SELECT time, 'watch' AS kind, records FROM watches_per_minute
UNION ALL
SELECT time, 'rating', ratings FROM ratings_per_minute
UNION ALL
SELECT time, 'recommendation_request', requests::bigint
FROM (SELECT time, sum(requests) AS requests FROM recommendation_requests_per_minute GROUP BY time) AS requests
UNION ALL
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), 'account', count(*) FROM accounts GROUP BY 1
UNION ALL
SELECT time, 'quarantine', records::bigint
FROM (SELECT time, sum(records) AS records FROM quarantine_per_minute GROUP BY time) AS quarantined;
