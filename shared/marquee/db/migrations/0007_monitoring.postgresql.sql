-- The same terms as TimescaleDB's policies; the first four were in the function itself before.
INSERT INTO retention_terms (table_name, keep) VALUES
    ('watches', '7 days'),
    ('recommendation_requests', '90 days'),
    ('quarantine', '180 days'),
    ('impressions', '180 days'),
    ('predictions', '180 days'),
    ('live_accuracy', '400 days'),
    ('impression_outcomes', '400 days'),
    ('availability', '400 days'),
    ('quality_checks', '400 days');
