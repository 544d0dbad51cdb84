"""From Kafka to a delivery."""
