SELECT create_hypertable('experiment_hours', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('experiment_pairs', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('experiment_looks', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT create_hypertable('experiment_decisions', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT add_retention_policy('experiment_hours', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('experiment_pairs', drop_after => INTERVAL '180 days');
SELECT add_retention_policy('experiment_looks', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('experiment_decisions', drop_after => INTERVAL '400 days');
