# Delivery from the bridge to `ingest`. Undeliverable messages become dead letters.

locals {
  # Ack deadline: longer than the function's timeout, or Pub/Sub would deliver again what is being written.
  push_deadline_s = local.functions.ingest.timeout_s + 30
  month_s         = 2678400 # 31 days, the maximum of Pub/Sub
}

resource "google_pubsub_topic" "events" {
  # checkov:skip=CKV_GCP_83:Google's keys encrypt it; losing a key of one's own would lose the stream.
  name                       = "marquee-events"
  message_retention_duration = "604800s"
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
  depends_on = [google_project_service.enabled]
}

resource "google_pubsub_topic" "dead_letters" {
  # checkov:skip=CKV_GCP_83:As above.
  name = "marquee-dead-letters"
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
  depends_on = [google_project_service.enabled]
}

resource "google_pubsub_subscription" "ingest" {
  name                       = "marquee-ingest"
  topic                      = google_pubsub_topic.events.id
  ack_deadline_seconds       = local.push_deadline_s
  message_retention_duration = "604800s"
  expiration_policy {
    ttl = "" # never expires: a week without records must not delete it
  }
  push_config {
    push_endpoint = local.ingest_url
    oidc_token {
      service_account_email = google_service_account.part["push"].email
      audience              = local.ingest_url
    }
  }
  # With the maximum back-off, a hundred attempts take more than half a day.
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = 100
  }
  depends_on = [module.function] # its address is known before it exists
}

resource "google_pubsub_subscription" "dead_letters" {
  name                       = "marquee-dead-letters"
  topic                      = google_pubsub_topic.dead_letters.id
  ack_deadline_seconds       = 60
  message_retention_duration = "${local.month_s}s"
  expiration_policy {
    ttl = ""
  }
}
