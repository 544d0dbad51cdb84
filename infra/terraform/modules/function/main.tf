# One function of infra/functions.yaml: its source archive, and the Cloud Run function built from it.

terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
  }
}

locals {
  # Concurrent requests require at least one whole processor.
  concurrency = var.function.workers * var.function.threads
  # The target is the name of the source folder.
  target = basename(var.function.source)
}

# The same commit gives the same bytes, so the object is named by the commit; a new name makes a new revision.
resource "google_storage_bucket_object" "source" {
  name   = "${var.name}/${var.commit}.zip"
  bucket = var.bucket
  source = var.bundle
}

resource "google_cloudfunctions2_function" "this" {
  # checkov:skip=CKV_GCP_124:`public` in infra/functions.yaml opens a function; the others accept internal traffic only.
  # checkov:skip=CKV2_GCP_10:Second-generation functions are HTTPS only; the check expects an argument of the first generation.
  name        = "marquee-${var.name}"
  location    = var.region
  description = var.function.text

  build_config {
    runtime           = "python311"
    entry_point       = local.target
    service_account   = var.build_account
    docker_repository = var.repository
    source {
      storage_source {
        bucket = google_storage_bucket_object.source.bucket
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email            = var.account
    ingress_settings                 = var.function.public ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    timeout_seconds                  = var.function.timeout_s
    min_instance_count               = var.function.instances.min
    max_instance_count               = var.function.instances.max
    max_instance_request_concurrency = local.concurrency
    available_cpu                    = local.concurrency > 1 ? tostring(max(1, var.function.workers)) : "0.333"
    available_memory                 = "${var.function.memory_mb}Mi"
    environment_variables = merge(var.environment, {
      WORKERS = tostring(var.function.workers)
      THREADS = tostring(var.function.threads)
    })

    dynamic "secret_environment_variables" {
      for_each = var.secrets
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = reverse(split("/", secret_environment_variables.value.secret))[0]
        version    = secret_environment_variables.value.version
      }
    }

    direct_vpc_egress = "VPC_EGRESS_ALL_TRAFFIC"
    direct_vpc_network_interface {
      network    = var.network
      subnetwork = var.subnetwork
    }
  }
}
