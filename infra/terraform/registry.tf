# Images of the jobs, and those that Cloud Build builds of the functions.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84:Google's keys encrypt it; the images contain no secret.
  repository_id = "marquee"
  location      = var.region
  format        = "DOCKER"
  description   = "Images by commit."

  cleanup_policies {
    id     = "keep-the-latest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }
  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "2592000s"
    }
  }
  depends_on = [google_project_service.enabled]
}
