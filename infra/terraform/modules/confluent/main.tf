# A cluster, and the bridge's account, which may read one topic in one consumer group. Create its API key by hand
# (README), because a key created here would be in the state.

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
  description = "Region of that cloud."
  type        = string
}

variable "topic" {
  description = "Topic of the event log."
  type        = string
}

variable "group" {
  description = "Consumer group of the bridge."
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
  standard {} # the smallest type with role-based access
  environment {
    id = confluent_environment.marquee.id
  }
}

resource "confluent_service_account" "bridge" {
  display_name = "marquee-bridge"
  description  = "Reads the event log."
}

resource "confluent_role_binding" "bridge" {
  for_each    = toset(["topic=${var.topic}", "group=${var.group}"])
  principal   = "User:${confluent_service_account.bridge.id}"
  role_name   = "DeveloperRead"
  crn_pattern = "${confluent_kafka_cluster.marquee.rbac_crn}/kafka=${confluent_kafka_cluster.marquee.id}/${each.key}"
}

output "bootstrap" {
  description = "Bootstrap servers."
  value       = trimprefix(confluent_kafka_cluster.marquee.bootstrap_endpoint, "SASL_SSL://")
}

output "bridge" {
  description = "Account for which to create the bridge's API key."
  value       = confluent_service_account.bridge.id
}
