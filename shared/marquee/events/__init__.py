"""The event log: kinds of events, the parser, batches of records, and their envelopes."""
