# Two buckets: artifacts, and the sources of functions. Neither can be made public, and deleted objects can be restored.

resource "google_storage_bucket" "artifacts" {
  # checkov:skip=CKV_GCP_62:Cloud Audit Logs record reads and writes, if they are turned on for the project.
  name                        = "${var.project_id}-marquee-artifacts"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection # without it, a bucket with objects cannot be destroyed
  versioning {
    enabled = true
  }
  soft_delete_policy {
    retention_duration_seconds = 2592000
  }
  # Only the release document is overwritten; a hundred of its versions are kept.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 100
      with_state         = "ARCHIVED"
    }
  }
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }
  # Expired snapshots, and models and snapshots that held a forgotten user, can be restored for a month, and then are gone.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      matches_prefix             = ["snapshots/", "models/"]
    }
  }
  # Rows that a killed batch of Spark has left, and their noncurrent versions.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 1
      matches_prefix = ["staging/"]
    }
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 1
      matches_prefix             = ["staging/"]
    }
  }
  depends_on = [google_project_service.enabled]
}

resource "google_storage_bucket" "sources" {
  # checkov:skip=CKV_GCP_62:As above.
  name                        = "${var.project_id}-marquee-sources"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection
  versioning {
    enabled = true
  }
  soft_delete_policy {
    retention_duration_seconds = 604800
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
    }
  }
  depends_on = [google_project_service.enabled]
}
