# Jobs: `migrate` runs once for each commit, the others on their schedules.

locals {
  jobs = { for name, schedule in local.schedules : name => {
    image   = basename(schedule.job)
    timeout = schedule.timeout_s
    args    = try(schedule.arguments, [])
    limits  = { cpu = tostring(try(schedule.limits.cpu, 1)), memory = "${try(schedule.limits.memory_mb, 512)}Mi" }
  } if startswith(schedule.job, "jobs/") }

  # Secret versions by part and environment variable.
  versions_of = { for part, secrets in local.secrets_of : part => {
    for variable, secret in secrets : variable => google_secret_manager_secret_version.this[secret]
  } }
}

# A new commit, or a higher `migrate_attempt` or `secrets_version`, replaces this job, and creating it runs it to its end. If the run fails, the
# job is tainted, so the next apply replaces it and runs it again. It stores nothing, so it is not protected.
module "migrate" {
  source = "./modules/job"

  name                = "migrate"
  region              = var.region
  image               = "${local.images}/migrate:${var.commit}"
  account             = google_service_account.part["migrate"].email
  timeout_s           = 1500
  retries             = 1
  run_now             = "${substr(var.commit, 0, 12)}-${var.migrate_attempt}-${var.secrets_version}"
  environment         = local.environment.migrate
  secrets             = local.versions_of.migrate
  network             = google_compute_network.marquee.id
  subnetwork          = google_compute_subnetwork.marquee.id
  deletion_protection = false

  depends_on = [google_secret_manager_secret_iam_member.reader, google_compute_router_nat.marquee]
}

# Parts that need the migrated tables depend on this. The job is ready only if its run succeeded.
resource "terraform_data" "migrated" {
  input = module.migrate.ready

  lifecycle {
    precondition {
      condition     = module.migrate.ready
      error_message = "The migration of commit ${var.commit} did not succeed, so the tables may be old and nothing that needs them is deployed. Its log has the reason: gcloud run jobs executions list --job=marquee-migrate --region=${var.region}. Then apply with a higher migrate_attempt (now ${var.migrate_attempt})."
    }
  }
}

# No retries: a refused model would be refused again, and the next scheduled run trains a new one.
module "scheduled" {
  source   = "./modules/job"
  for_each = local.jobs

  name                = each.key
  region              = var.region
  image               = "${local.images}/${each.value.image}:${var.commit}"
  account             = google_service_account.part[each.key].email
  timeout_s           = each.value.timeout
  limits              = each.value.limits
  args                = each.value.args
  environment         = local.environment[each.key]
  secrets             = local.versions_of[each.key]
  network             = google_compute_network.marquee.id
  subnetwork          = google_compute_subnetwork.marquee.id
  deletion_protection = var.deletion_protection

  depends_on = [google_secret_manager_secret_iam_member.reader, terraform_data.migrated]
}
