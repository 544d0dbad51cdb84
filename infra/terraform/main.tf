# What the rest is made from: the two YAML files, and each setting's value or secret.

locals {
  functions = yamldecode(file("${path.module}/../functions.yaml")).functions
  schedules = yamldecode(file("${path.module}/../schedules.yaml")).schedules

  # The settings of the parts that are in neither file.
  bridge_needs = [
    "kafka_bootstrap", "kafka_topic", "kafka_group", "kafka_security", "kafka_sasl_mechanism", "kafka_username",
    "kafka_password", "kafka_options", "delivery_url", "metrics_port", "log_level",
  ]
  migrate_needs = ["database_url", "log_level"]
  job_needs     = { for name, schedule in local.schedules : name => schedule.needs if startswith(schedule.job, "jobs/") }

  needed = toset(flatten([
    [for function in local.functions : function.needs],
    [for schedule in local.schedules : schedule.needs],
    local.bridge_needs,
    local.migrate_needs,
  ]))

  # The address of `ingest` that follows from its name, so that it can be told its own: whoever pushes names it as the
  # audience, Cloud Run checks that before the function is reached, and the function checks it again.
  ingest_url = "https://marquee-ingest-${data.google_project.this.number}.${var.region}.run.app"

  # Where the parts are: not to be given by hand.
  places = {
    objects_url          = "gs://${google_storage_bucket.artifacts.name}"
    dvc_remote           = "gs://${google_storage_bucket.artifacts.name}/snapshots"
    delivery_url         = "pubsub://${var.project_id}/${google_pubsub_topic.events.name}"
    kafka_bootstrap      = one(module.confluent) == null ? var.kafka.bootstrap : one(module.confluent).bootstrap
    kafka_topic          = var.kafka.topic
    kafka_username       = var.kafka.username
    kafka_security       = var.kafka.security
    kafka_sasl_mechanism = var.kafka.sasl_mechanism
    commit               = var.commit
    trace_project        = var.project_id
    push_audience        = local.ingest_url
    push_service_account = google_service_account.part["push"].email
  }
  values          = merge(var.settings, local.places)
  secret_settings = { database_url = "database-url", kafka_password = "kafka-password" }

  # Named once more, since what checks `var.settings` must not wait for what `var.settings` makes.
  reserved = [
    "objects_url", "dvc_remote", "delivery_url", "kafka_bootstrap", "kafka_topic", "kafka_username", "kafka_security",
    "kafka_sasl_mechanism", "commit", "trace_project", "push_audience", "push_service_account", "database_url",
    "kafka_password",
  ]

  # By part: its environment, and which secrets it is given.
  needs = merge(
    { for name, function in local.functions : name => function.needs },
    local.job_needs,
    { bridge = local.bridge_needs, migrate = local.migrate_needs },
  )
  environment = { for part, needs in local.needs : part => {
    for need in needs : "MARQUEE_${upper(need)}" => local.values[need] if contains(keys(local.values), need)
  } }
  secrets_of = { for part, needs in local.needs : part => {
    for need in needs : "MARQUEE_${upper(need)}" => local.secret_settings[need] if contains(keys(local.secret_settings), need)
  } }

  images = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"

  # `recommend` reads fresh history on a connection of its own beside the pool's. `monitor` has one for its lock, one to
  # write and one to read, whatever the setting.
  connections = {
    for name, function in local.functions : name =>
    function.instances.max * function.workers * (name == "monitor" ? 3 : tonumber(lookup(var.settings, "database_connections", 1)) + (name == "recommend" ? 1 : 0))
    if contains(function.needs, "database_url")
  }
  connections_needed = sum(concat(values(local.connections), [length(local.job_needs) + 1]))
}

data "google_project" "this" {
  project_id = var.project_id
}

resource "google_project_service" "enabled" {
  for_each = toset([
    "artifactregistry", "billingbudgets", "cloudbuild", "cloudfunctions", "cloudscheduler", "compute", "iam",
    "iamcredentials", "logging", "monitoring", "pubsub", "run", "secretmanager", "storage", "sts",
  ])
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}
