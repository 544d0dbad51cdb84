"""From a delivery to rows: parsing, writing, aggregation, quarantine."""
