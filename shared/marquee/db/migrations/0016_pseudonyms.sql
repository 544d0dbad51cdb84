-- True: rows, snapshots and artifacts hold the keyed hash of a user id instead of the id (docs/privacy.md). It is part of
-- what every writer reads under the lock of the marks, so that all parts change at once.
ALTER TABLE privacy_state ADD COLUMN pseudonyms boolean NOT NULL DEFAULT false;
