-- Which offsets of a partition have been written, whatever they were: what is in `written` is not written again,
-- though the row was replayed, read by a newer parser, or forgotten meanwhile. A batch covers all offsets from its
-- first to its last, and batches follow each other, so as a rule it is one range. `unaggregated`: those of them whose
-- watches are not in `watch_sessions` yet; `aggregated_at`: when there were none last.
ALTER TABLE written_offsets
    ADD COLUMN written  int8multirange NOT NULL DEFAULT '{}',
    ADD COLUMN unaggregated int8multirange NOT NULL DEFAULT '{}',
    ADD COLUMN aggregated_at   timestamptz    NOT NULL DEFAULT now();

UPDATE written_offsets SET written = records.written
FROM (
    SELECT topic_key, partition, range_agg(int8range("offset", "offset" + 1)) AS written
    FROM (
        SELECT topic_key, partition, "offset" FROM watches
        UNION ALL SELECT topic_key, partition, "offset" FROM ratings
        UNION ALL SELECT topic_key, partition, "offset" FROM recommendation_requests
        UNION ALL SELECT topic_key, partition, "offset" FROM accounts
        UNION ALL SELECT topic_key, partition, "offset" FROM quarantine
    ) AS every
    GROUP BY topic_key, partition
) AS records
WHERE records.topic_key = written_offsets.topic_key AND records.partition = written_offsets.partition;
