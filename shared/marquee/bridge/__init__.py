"""The bridge: forwards records from Kafka to a delivery."""
