# Alerts that need no database: queues, answers and jobs. Alerts about data and models are Grafana's. There is no uptime
# check of `recommend`, because it would keep an instance running.

locals {
  run = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"marquee-recommend\""
  alerts = {
    dead-letters = {
      text     = "Batches could not be delivered for half a day and are dead letters."
      filter   = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"marquee-dead-letters\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      aligner  = "ALIGN_MAX"
      above    = 0
      lasting  = "0s"
      severity = "CRITICAL"
    }
    backlog = {
      text     = "The oldest batch has waited for more than ten minutes."
      filter   = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"marquee-ingest\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner  = "ALIGN_MAX"
      above    = 600
      lasting  = "300s"
      severity = "ERROR"
    }
    slow = {
      text     = "One answer in twenty takes longer than the caller's timeout."
      filter   = "${local.run} AND metric.type = \"run.googleapis.com/request_latencies\""
      aligner  = "ALIGN_PERCENTILE_95"
      above    = 600
      lasting  = "900s"
      severity = "WARNING"
    }
    failing = {
      text     = "More than one answer in ten seconds fails."
      filter   = "${local.run} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner  = "ALIGN_RATE"
      above    = 0.1
      lasting  = "300s"
      severity = "CRITICAL"
    }
    jobs = {
      text     = "A job failed: no model was released, or migrations are missing."
      filter   = "resource.type = \"cloud_run_job\" AND metric.type = \"run.googleapis.com/job/completed_execution_count\" AND metric.labels.result = \"failed\""
      aligner  = "ALIGN_DELTA" # failures; ALIGN_COUNT would count the points, which exist without a failure too
      above    = 0
      lasting  = "0s"
      severity = "ERROR"
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = toset(var.alert_emails)
  display_name = each.key
  type         = "email"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.enabled]
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = local.alerts
  display_name          = "Marquee: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]
  documentation {
    content   = "${each.value.text} Actions: docs/operations.md, `${each.key}`."
    mime_type = "text/markdown"
  }
  conditions {
    display_name = each.key
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = each.value.lasting
      aggregations {
        alignment_period   = "300s"
        per_series_aligner = each.value.aligner
      }
    }
  }
  depends_on = [google_project_service.enabled]
}

# While the streaming service runs, the bridge publishes continuously.
resource "google_monitoring_alert_policy" "silent" {
  display_name          = "Marquee: silent"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]
  documentation {
    content   = "Nothing was published for half an hour. Actions: docs/operations.md, `silent`."
    mime_type = "text/markdown"
  }
  conditions {
    display_name = "silent"
    condition_absent {
      filter   = "resource.type = \"pubsub_topic\" AND resource.labels.topic_id = \"marquee-events\" AND metric.type = \"pubsub.googleapis.com/topic/send_message_operation_count\""
      duration = "1800s"
      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_RATE"
      }
    }
  }
  depends_on = [google_project_service.enabled]
}

resource "google_monitoring_custom_service" "recommend" {
  service_id   = "marquee-recommend"
  display_name = "Marquee recommend"
  depends_on   = [google_project_service.enabled]
}

resource "google_monitoring_slo" "in_time" {
  service             = google_monitoring_custom_service.recommend.service_id
  slo_id              = "in-time"
  display_name        = "99 of 100 answers within the caller's 600 ms"
  goal                = 0.99
  rolling_period_days = 28
  request_based_sli {
    distribution_cut {
      distribution_filter = "${local.run} AND metric.type = \"run.googleapis.com/request_latencies\""
      range {
        max = 600
      }
    }
  }
}

resource "google_billing_budget" "month" {
  count           = var.budget == null ? 0 : 1
  billing_account = var.budget.billing_account
  display_name    = "Marquee"
  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }
  amount {
    specified_amount {
      units = tostring(floor(var.budget.amount))
    }
  }
  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }
  all_updates_rule {
    monitoring_notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]
  }
  depends_on = [google_project_service.enabled]
}
