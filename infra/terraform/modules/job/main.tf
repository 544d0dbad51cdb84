# One Cloud Run job: the image of a commit with its environment and secrets.

terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

locals {
  apply_timeout = "${(var.retries + 1) * var.timeout_s + 600}s"
}

# A run belongs to the creation of the job: an update whose run fails would leave the new token in the state, and the next
# apply would find nothing to do.
resource "terraform_data" "run_now" {
  input = var.run_now
}

resource "google_cloud_run_v2_job" "this" {
  name                = "marquee-${var.name}"
  location            = var.region
  deletion_protection = var.deletion_protection
  run_execution_token = var.run_now

  lifecycle {
    replace_triggered_by = [terraform_data.run_now]
  }

  # An apply waits for the run that it starts, with its retries; the default is 20 minutes.
  timeouts {
    create = local.apply_timeout
    update = local.apply_timeout
  }

  template {
    template {
      service_account = var.account
      timeout         = "${var.timeout_s}s"
      max_retries     = var.retries
      containers {
        image = var.image
        args  = var.args
        resources {
          limits = var.limits
        }
        dynamic "env" {
          for_each = var.environment
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = var.secrets
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = reverse(split("/", env.value.secret))[0]
                version = env.value.version
              }
            }
          }
        }
      }
      vpc_access {
        egress = "ALL_TRAFFIC"
        network_interfaces {
          network    = var.network
          subnetwork = var.subnetwork
        }
      }
    }
  }
}
