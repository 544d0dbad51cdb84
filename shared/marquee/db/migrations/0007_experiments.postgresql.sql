INSERT INTO retention_terms (table_name, keep) VALUES
    ('experiment_hours', '180 days'),
    ('experiment_pairs', '180 days'),
    ('experiment_looks', '400 days'),
    ('experiment_decisions', '400 days');
