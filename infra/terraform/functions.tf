# The functions of infra/functions.yaml, one module call for all of them.

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name          = each.key
  function      = each.value
  region        = var.region
  project_id    = var.project_id
  commit        = var.commit
  bundle        = "${var.bundles}/${each.key}.zip"
  bucket        = google_storage_bucket.sources.name
  repository    = google_artifact_registry_repository.images.id
  build_account = google_service_account.part["build"].id
  account       = google_service_account.part[each.key].email
  environment   = local.environment[each.key]
  secrets       = local.versions_of[each.key]
  network       = google_compute_network.marquee.id
  subnetwork    = google_compute_subnetwork.marquee.id

  # New code needs the migrated tables.
  depends_on = [
    terraform_data.migrated,
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.build,
    google_storage_bucket_iam_member.build,
    google_secret_manager_secret_iam_member.reader,
  ]
}

# Callers: those of `recommend_callers` and `events_callers` may call these functions, Pub/Sub only `ingest`, and the
# scheduler only the functions it starts.
locals {
  scheduled_functions = { for name, schedule in local.schedules : name => basename(schedule.job) if startswith(schedule.job, "functions/") }
  invokers = merge(
    merge([for name, function in local.functions : {
      for member in local.callers[name] : "${name}-${member}" => { function = name, member = member }
    } if function.public]...),
    var.app == null ? {} : { recommend-app = { function = "recommend", member = google_service_account.part["app"].member } },
    { ingest-push = { function = "ingest", member = google_service_account.part["push"].member } },
    { for name, function in local.scheduled_functions : "${name}-schedule" => { function = function, member = google_service_account.part["scheduler"].member } },
  )
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  # checkov:skip=CKV_GCP_102:A streaming service without credentials needs allUsers; recommend_callers names it, and is empty by default.
  for_each = local.invokers
  name     = module.function[each.value.function].service
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value.member
}
