-- Which offsets of a partition have been written, whatever they were: what is in `written` is not written again,
-- though the row was replayed, read by a newer parser, or forgotten meanwhile. A batch covers all offsets from its
-- first to its last, and batches follow each other, so as a rule it is one range. `unfolded`: those of them whose
-- watches are not in `watch_sessions` yet; `folded`: when there were none last.
ALTER TABLE progress
    ADD COLUMN written  int8multirange NOT NULL DEFAULT '{}',
    ADD COLUMN unfolded int8multirange NOT NULL DEFAULT '{}',
    ADD COLUMN folded   timestamptz    NOT NULL DEFAULT now();

UPDATE progress SET written = lines.written
FROM (
    SELECT stream, partition, range_agg(int8range("offset", "offset" + 1)) AS written
    FROM (
        SELECT stream, partition, "offset" FROM watches
        UNION ALL SELECT stream, partition, "offset" FROM ratings
        UNION ALL SELECT stream, partition, "offset" FROM recommendation_requests
        UNION ALL SELECT stream, partition, "offset" FROM accounts
        UNION ALL SELECT stream, partition, "offset" FROM quarantine
    ) AS every
    GROUP BY stream, partition
) AS lines
WHERE lines.stream = progress.stream AND lines.partition = progress.partition;
