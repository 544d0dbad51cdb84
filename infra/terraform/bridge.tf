# The bridge runs continuously and gets no requests, so it is a worker pool. Kafka holds its offsets, so any instance may
# be replaced.

resource "google_cloud_run_v2_worker_pool" "bridge" {
  name                = "marquee-bridge"
  location            = var.region
  deletion_protection = var.deletion_protection

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.bridges
  }

  template {
    service_account = google_service_account.part["bridge"].email
    containers {
      image = "${local.images}/bridge:${var.commit}"
      resources {
        limits = { cpu = "1", memory = "512Mi" }
      }
      dynamic "env" {
        for_each = local.environment.bridge
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = local.secrets_of.bridge
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

  depends_on = [google_secret_manager_secret_iam_member.reader, google_pubsub_topic_iam_member.publisher]
}
