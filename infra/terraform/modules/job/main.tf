# One Cloud Run job: the image of a commit with its environment and secrets.

terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

resource "google_cloud_run_v2_job" "this" {
  name                = "marquee-${var.name}"
  location            = var.region
  deletion_protection = var.deletion_protection
  run_execution_token = var.run_now

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
