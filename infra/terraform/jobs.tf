# Jobs that run to an end: `migrate` once for each commit, the scheduled ones by the clock.

locals {
  jobs = { for name, schedule in local.schedules : name => {
    image   = basename(schedule.job)
    timeout = schedule.timeout_s
    limits  = basename(schedule.job) == "retrain" ? { cpu = "4", memory = "8Gi" } : { cpu = "1", memory = "512Mi" }
  } if startswith(schedule.job, "jobs/") }
}

# Applying a new commit runs it to its end, before the functions of that commit are deployed.
resource "google_cloud_run_v2_job" "migrate" {
  name                = "marquee-migrate"
  location            = var.region
  deletion_protection = var.deletion_protection
  run_execution_token = substr(var.commit, 0, 12)

  template {
    template {
      service_account = google_service_account.part["migrate"].email
      timeout         = "1800s"
      max_retries     = 1
      containers {
        image = "${local.images}/migrate:${var.commit}"
        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }
        dynamic "env" {
          for_each = local.environment.migrate
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = local.secrets_of.migrate
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = google_secret_manager_secret.this[env.value].secret_id
                version = google_secret_manager_secret_version.this[env.value].version
              }
            }
          }
        }
      }
      vpc_access {
        egress = "ALL_TRAFFIC"
        network_interfaces {
          network    = google_compute_network.marquee.id
          subnetwork = google_compute_subnetwork.marquee.id
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_compute_router_nat.marquee]
}

resource "google_cloud_run_v2_job" "scheduled" {
  for_each            = local.jobs
  name                = "marquee-${each.key}"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = google_service_account.part[each.key].email
      timeout         = "${each.value.timeout}s"
      max_retries     = 0 # the next run by the clock is the retry; a refused model would be refused again
      containers {
        image = "${local.images}/${each.value.image}:${var.commit}"
        resources {
          limits = each.value.limits
        }
        dynamic "env" {
          for_each = local.environment[each.key]
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = local.secrets_of[each.key]
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = google_secret_manager_secret.this[env.value].secret_id
                version = google_secret_manager_secret_version.this[env.value].version
              }
            }
          }
        }
      }
      vpc_access {
        egress = "ALL_TRAFFIC"
        network_interfaces {
          network    = google_compute_network.marquee.id
          subnetwork = google_compute_subnetwork.marquee.id
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_cloud_run_v2_job.migrate]
}
