# The schedules of infra/schedules.yaml: each starts a job through Cloud Run's API, starts a batch of Spark (spark.tf)
# or calls a function.

locals {
  run_api = "https://run.googleapis.com/v2/projects/${var.project_id}/locations/${var.region}/jobs"
}

resource "google_cloud_scheduler_job" "job" {
  for_each         = local.jobs
  name             = "marquee-${each.key}"
  description      = local.schedules[each.key].text
  region           = var.region
  schedule         = local.schedules[each.key].cron
  time_zone        = local.schedules[each.key].zone
  attempt_deadline = "180s" # for the start, not for the run
  http_target {
    http_method = "POST"
    uri         = contains(keys(local.batches), each.key) ? local.batch_api : "${local.run_api}/${module.scheduled[each.key].name}:run"
    headers     = contains(keys(local.batches), each.key) ? { "Content-Type" = "application/json" } : null
    body        = contains(keys(local.batches), each.key) ? base64encode(jsonencode(local.batch_body[each.key])) : null
    oauth_token {
      service_account_email = google_service_account.part["scheduler"].email
    }
  }
  retry_config {
    retry_count          = 3
    min_backoff_duration = "30s"
  }
}

resource "google_cloud_scheduler_job" "function" {
  for_each         = local.scheduled_functions
  name             = "marquee-${each.key}"
  description      = local.schedules[each.key].text
  region           = var.region
  schedule         = local.schedules[each.key].cron
  time_zone        = local.schedules[each.key].zone
  attempt_deadline = "${min(1800, local.schedules[each.key].timeout_s)}s"
  http_target {
    http_method = "POST"
    uri         = module.function[each.value].url
    oidc_token {
      service_account_email = google_service_account.part["scheduler"].email
      audience              = module.function[each.value].url
    }
  }
  retry_config {
    retry_count          = 3
    min_backoff_duration = "30s"
  }
}

resource "google_cloud_run_v2_job_iam_member" "scheduler" {
  for_each = local.jobs
  name     = module.scheduled[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.part["scheduler"].member
}
