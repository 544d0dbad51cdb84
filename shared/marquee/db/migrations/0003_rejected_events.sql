-- Rejected events keep at most 64 kB of a body, its size and its digest, for 30 days.
ALTER TABLE rejected_events ADD COLUMN body_bytes bigint;
UPDATE rejected_events SET body_bytes = length(body);
ALTER TABLE rejected_events ALTER COLUMN body_bytes SET NOT NULL;
CREATE INDEX rejected_events_by_time ON rejected_events (received);
INSERT INTO retention_terms (table_name, time_column, keep) VALUES ('rejected_events', 'received', '30 days');
