# Optional: Kafka at Confluent Cloud. Without it, `kafka.bootstrap` is the address of Kafka.

module "confluent" {
  source = "./modules/confluent"
  count  = var.confluent == null ? 0 : 1

  cloud  = var.confluent.cloud
  region = var.confluent.region
  topic  = var.kafka.topic
  group  = lookup(var.kafka.options, "group.id", "marquee-bridge")
}
