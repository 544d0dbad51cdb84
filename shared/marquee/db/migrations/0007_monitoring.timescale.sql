SELECT create_hypertable('predictions', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('live_accuracy', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('impression_outcomes', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('availability', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('quality_checks', by_range('time', INTERVAL '30 days'), create_default_indexes => false);

ALTER TABLE predictions SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'topic_key, partition', timescaledb.orderby = '"offset"');
CALL add_columnstore_policy('predictions', after => INTERVAL '14 days');

SELECT add_retention_policy('predictions', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('live_accuracy', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('impression_outcomes', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('availability', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('quality_checks', drop_after => INTERVAL '400 days');
