INSERT INTO retention_terms (table_name, keep) VALUES ('live_fairness', '400 days');
