INSERT INTO retention_terms (table_name, keep) VALUES ('ratings', '1095 days');
