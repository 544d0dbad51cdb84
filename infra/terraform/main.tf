# Local values that the other files use: functions, schedules, and the value or secret of each setting.

locals {
  functions = { for name, function in yamldecode(file("${path.module}/../functions.yaml")).functions : name => merge(function, {
    instances = merge(function.instances, { min = lookup(var.min_instances, name, function.instances.min) })
  }) if name != "app" || var.app != null }
  schedules = yamldecode(file("${path.module}/../schedules.yaml")).schedules
  declared  = jsondecode(file("${path.module}/../needs.json"))

  # The settings that each part reads; needs.json is generated from shared/marquee/config/needs.py.
  job_needs = { for name, schedule in local.schedules : name => local.declared.needs[basename(schedule.job)] if startswith(schedule.job, "jobs/") }
  needs = merge(
    { for name, function in local.functions : name => local.declared.needs[name] },
    local.job_needs,
    { bridge = local.declared.needs.bridge, migrate = local.declared.needs.migrate },
  )
  needed = toset(flatten(values(local.needs)))

  # Cloud Run derives this address from the function's name, so `ingest` can be given its own. A push names it as the
  # audience. Cloud Run checks the audience first, the function checks it again.
  ingest_url = "https://marquee-ingest-${data.google_project.this.number}.${var.region}.run.app"

  recommend_url = "https://marquee-recommend-${data.google_project.this.number}.${var.region}.run.app"

  # Settings that the configuration determines.
  provided = {
    objects_url     = "gs://${google_storage_bucket.artifacts.name}"
    dvc_remote      = "gs://${google_storage_bucket.artifacts.name}/snapshots"
    delivery_url    = "pubsub://${var.project_id}/${google_pubsub_topic.events.name}"
    kafka_bootstrap = one(module.confluent) == null ? var.kafka.bootstrap : one(module.confluent).bootstrap
    kafka_topic     = var.kafka.topic
    commit          = var.commit
    push_identity   = "${google_service_account.part["push"].email}=${local.ingest_url}"
  }
  # Callers of the public functions. Cloud Run authenticates them, except allUsers, who need a key.
  callers = {
    recommend = var.recommend_callers
    events    = var.events_callers
    app       = ["allUsers"] # Its own devices are known by their tokens.
  }
  open   = contains(concat(var.recommend_callers, var.events_callers), "allUsers")
  access = local.open ? "private" : "platform"

  values = merge({ access = local.access }, var.app == null ? {} : {
    recommend_url        = local.recommend_url
    movies_url           = var.app.movies_url
    android_certificates = join(",", var.app.android_certificates)
  }, var.settings, local.provided)
  # `migrate` alone connects as the owner of the tables, and makes the logins of the other parts.
  secret_settings = merge({
    database_url    = "database-url"
    database_logins = "database-logins"
    kafka_options   = "kafka-options"
    api_keys        = "api-keys"
    token_secret    = "token-secret"
    privacy_key     = "privacy-key"
    }, var.app == null ? {} : {
    documents_url = "documents-url"
    recommend_key = "recommend-key"
  })

  # Settings that var.settings must not contain. The keys of local.provided would make its validation depend on resources.
  reserved = local.declared.provided

  # Environment variables and secrets by part.
  environment = { for part, needs in local.needs : part => {
    for need in needs : "MARQUEE_${upper(need)}" => local.values[need] if contains(keys(local.values), need)
  } }
  logins = { for part in keys(local.needs) : part => try(basename(local.schedules[part].job), part) }
  secrets_of = { for part, needs in local.needs : part => merge(
    { for need in needs : "MARQUEE_${upper(need)}" => local.secret_settings[need] if contains(keys(local.secret_settings), need) },
    contains(local.declared.logins, local.logins[part]) ? { MARQUEE_DATABASE_URL = "database-url-${local.logins[part]}" } : {},
  ) }
  login_parts  = toset([for part in values(local.logins) : part if contains(local.declared.logins, part)])
  secret_names = toset(concat(values(local.secret_settings), [for part in local.login_parts : "database-url-${part}"]))

  images = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"

  # Database connections with every instance running.
  connections = { for name, function in local.functions : name => function.instances.max * function.workers * function.connections }
  # Each job and the migration have one, Grafana its pool.
  grafana_connections = 4
  connections_needed  = sum(concat(values(local.connections), [length(local.job_needs) + 1, var.grafana == null ? 0 : local.grafana_connections]))
}

data "google_project" "this" {
  project_id = var.project_id
}

resource "google_project_service" "enabled" {
  for_each = toset([
    "artifactregistry", "billingbudgets", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler",
    "compute", "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "secretmanager", "storage", "sts",
  ])
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}
