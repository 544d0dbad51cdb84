SELECT add_retention_policy('ratings', drop_after => INTERVAL '1095 days');
