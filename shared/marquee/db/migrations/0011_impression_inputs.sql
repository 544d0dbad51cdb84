-- Inputs of a list beside the release and its id, from which it can be made again (docs/experiments.md): a part of the
-- user's history at that moment, and the parameters. Null in rows of earlier programs. Kept as long as the row.

ALTER TABLE impressions ADD COLUMN inputs jsonb;
