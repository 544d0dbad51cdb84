# GitHub's workflows authenticate by identity instead of a key. A pull request may read, the named ref may push images,
# and only the named ref in the named environment may change anything else. Repository and owner are matched by number,
# because names can be transferred.

locals {
  github = var.github == null ? toset([]) : toset(["plan", "build", "apply"])
  apply_roles = [
    "roles/artifactregistry.admin", "roles/cloudfunctions.admin", "roles/cloudscheduler.admin", "roles/compute.networkAdmin",
    "roles/iam.serviceAccountAdmin", "roles/iam.workloadIdentityPoolAdmin", "roles/monitoring.editor", "roles/pubsub.admin",
    "roles/run.admin", "roles/secretmanager.admin", "roles/serviceusage.serviceUsageAdmin", "roles/storage.admin",
  ]
  plan_roles = ["roles/viewer", "roles/iam.securityReviewer", "roles/serviceusage.serviceUsageConsumer"]
  # Roles on the project that `apply` may grant. It cannot make itself an owner.
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
    # Right of a workflow: on the ref `apply` in the environment that requires approval, `plan` in that of the plans, and
    # `build` elsewhere; on another ref `plan`.
    "attribute.right" = join("", [
      "assertion.ref != '${var.github.ref}' ? 'plan' : ",
      "!('environment' in assertion) ? 'build' : ",
      "assertion.environment == '${var.github.environment}' ? 'apply' : ",
      "assertion.environment == '${var.github.plan_environment}' ? 'plan' : 'build'",
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
  description  = "GitHub's workflow with the right to ${each.key}."
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
  # checkov:skip=CKV_GCP_42:It deploys everything, so it administers each deployed service; it is neither owner nor editor.
  # checkov:skip=CKV_GCP_49:As above.
  for_each = var.github == null ? toset([]) : toset(local.apply_roles)
  project  = var.project_id
  role     = each.key
  member   = google_service_account.github["apply"].member
}

resource "google_project_iam_member" "grant" {
  # checkov:skip=CKV_GCP_42:It may grant only the roles in the condition.
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

# Deploying a part requires acting as its account. The grants are for the accounts of the parts only.
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
