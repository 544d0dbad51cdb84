# A cluster, and the bridge's account with the right to read one topic as one group. Its API key is made by hand
# (README): one made here would lie in the state.

terraform {
  required_providers {
    confluent = {
      source  = "confluentinc/confluent"
      version = "~> 2.83"
    }
  }
}

variable "cloud" {
  description = "AWS, AZURE or GCP."
  type        = string
  validation {
    condition     = contains(["AWS", "AZURE", "GCP"], var.cloud)
    error_message = "The cloud is AWS, AZURE or GCP."
  }
}

variable "region" {
  description = "A region of that cloud."
  type        = string
}

variable "topic" {
  description = "The topic with the service's log."
  type        = string
}

variable "group" {
  description = "The bridge's consumer group."
  type        = string
}

resource "confluent_environment" "marquee" {
  display_name = "marquee"
}

resource "confluent_kafka_cluster" "marquee" {
  display_name        = "marquee"
  availability        = "SINGLE_ZONE"
  cloud               = var.cloud
  region              = var.region
  deletion_protection = true
  standard {} # the least with rights by role
  environment {
    id = confluent_environment.marquee.id
  }
}

resource "confluent_service_account" "bridge" {
  display_name = "marquee-bridge"
  description  = "Reads the log."
}

resource "confluent_role_binding" "bridge" {
  for_each    = toset(["topic=${var.topic}", "group=${var.group}"])
  principal   = "User:${confluent_service_account.bridge.id}"
  role_name   = "DeveloperRead"
  crn_pattern = "${confluent_kafka_cluster.marquee.rbac_crn}/kafka=${confluent_kafka_cluster.marquee.id}/${each.key}"
}

output "bootstrap" {
  description = "Its bootstrap servers."
  value       = trimprefix(confluent_kafka_cluster.marquee.bootstrap_endpoint, "SASL_SSL://")
}

output "bridge" {
  description = "The account to make the bridge's API key for."
  value       = confluent_service_account.bridge.id
}
