SELECT create_hypertable('live_fairness', by_range('time', INTERVAL '30 days'), create_default_indexes => false);
SELECT add_retention_policy('live_fairness', drop_after => INTERVAL '400 days');
