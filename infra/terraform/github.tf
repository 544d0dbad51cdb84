# GitHub's workflows act by identity, not by key. A pull request may look; the named ref may push images; only the
# named ref in the named environment may change anything else. Names can change hands, so the repository and its owner are matched by number.

locals {
  github = var.github == null ? toset([]) : toset(["plan", "build", "apply"])
  apply_roles = [
    "roles/artifactregistry.admin", "roles/cloudfunctions.admin", "roles/cloudscheduler.admin", "roles/compute.networkAdmin",
    "roles/iam.serviceAccountAdmin", "roles/iam.workloadIdentityPoolAdmin", "roles/monitoring.editor", "roles/pubsub.admin",
    "roles/run.admin", "roles/secretmanager.admin", "roles/serviceusage.serviceUsageAdmin", "roles/storage.admin",
  ]
  plan_roles = ["roles/viewer", "roles/iam.securityReviewer", "roles/serviceusage.serviceUsageConsumer"]
  # `apply` may hand out these on the project, and no others: it cannot make itself an owner.
  granted = join(", ", [for role in concat(keys(google_project_iam_member.build), local.plan_roles) : "'${role}'"])
}

resource "google_iam_workload_identity_pool" "github" {
  count                     = var.github == null ? 0 : 1
  workload_identity_pool_id = "marquee-github"
  display_name              = "GitHub"
  depends_on                = [google_project_service.enabled]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  # checkov:skip=CKV_GCP_125:The condition names the repository and its owner by number; the check looks for a subject, whose form GitHub changed in 2026.
  count                              = var.github == null ? 0 : 1
  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub's workflows"
  attribute_mapping = {
    "google.subject" = "assertion.sub"
    # What a workflow may do: `apply` on the ref, in the environment that asks for approval; `build` on the ref; else `plan`.
    "attribute.right" = join("", [
      "assertion.ref != '${var.github.ref}' ? 'plan' : ",
      "('environment' in assertion && assertion.environment == '${var.github.environment}') ? 'apply' : 'build'",
    ])
  }
  attribute_condition = join(" && ", [
    "assertion.repository_id == '${var.github.repository_id}'",
    "assertion.repository_owner_id == '${var.github.owner_id}'",
    "(assertion.ref == '${var.github.ref}' || assertion.event_name == 'pull_request')",
  ])
  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "github" {
  for_each     = local.github
  account_id   = "marquee-github-${each.key}"
  display_name = "Marquee GitHub ${each.key}"
  description  = "Is GitHub's workflow with the right to ${each.key}."
  depends_on   = [google_project_service.enabled]
}

resource "google_service_account_iam_member" "github" {
  for_each           = local.github
  service_account_id = google_service_account.github[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.right/${each.key}"
}

resource "google_artifact_registry_repository_iam_member" "github" {
  count      = var.github == null ? 0 : 1
  repository = google_artifact_registry_repository.images.id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.github["build"].member
}

resource "google_project_iam_member" "plan" {
  for_each = var.github == null ? toset([]) : toset(local.plan_roles)
  project  = var.project_id
  role     = each.key
  member   = google_service_account.github["plan"].member
}

resource "google_project_iam_member" "apply" {
  # checkov:skip=CKV_GCP_42:It deploys everything, so it administers what it deploys: service by service, neither owner nor editor.
  # checkov:skip=CKV_GCP_49:As above.
  for_each = var.github == null ? toset([]) : toset(local.apply_roles)
  project  = var.project_id
  role     = each.key
  member   = google_service_account.github["apply"].member
}

resource "google_project_iam_member" "grant" {
  # checkov:skip=CKV_GCP_42:It may hand out the roles in the condition only.
  # checkov:skip=CKV_GCP_49:As above.
  count   = var.github == null ? 0 : 1
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.github["apply"].member
  condition {
    title      = "the roles of this configuration"
    expression = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${local.granted}])"
  }
}

# Deploying a part means acting as it: as each part, one by one, and as nobody else.
resource "google_service_account_iam_member" "apply_as" {
  for_each           = var.github == null ? {} : google_service_account.part
  service_account_id = each.value.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.github["apply"].member
}

resource "google_storage_bucket_iam_member" "state" {
  for_each = var.github == null ? {} : { plan = "roles/storage.objectViewer", apply = "roles/storage.objectUser" }
  bucket   = var.github.state_bucket
  role     = each.value
  member   = google_service_account.github[each.key].member
}
