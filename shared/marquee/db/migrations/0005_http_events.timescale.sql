-- Records of every kind per minute. A quarantined record counts in the minute of its Kafka timestamp.
CREATE OR REPLACE VIEW records_per_minute AS
SELECT time, 'watch' AS kind, records FROM watches_per_minute
UNION ALL
SELECT time, 'rating', ratings FROM ratings_per_minute
UNION ALL
SELECT time, 'recommendation_request', requests::bigint
FROM (SELECT time, sum(requests) AS requests FROM recommendation_requests_per_minute GROUP BY time) AS requests
UNION ALL
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), 'account', count(*)
FROM accounts GROUP BY 1
UNION ALL
SELECT time, 'quarantine', records::bigint
FROM (SELECT time, sum(records) AS records FROM quarantine_per_minute GROUP BY time) AS quarantined
UNION ALL
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), 'impression_shown', count(*)
FROM impressions_shown GROUP BY 1
UNION ALL
SELECT date_bin(INTERVAL '1 minute', time, TIMESTAMPTZ '2000-01-03 00:00:00+00'), 'click', count(*)
FROM clicks GROUP BY 1;
