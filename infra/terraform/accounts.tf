# One service account for each part with the least privileges. Only the builder has roles on the project: for its log,
# and for the bucket in which Cloud Functions stores sources. No account has a key.

locals {
  parts = merge(
    { for name, function in local.functions : name => function.text },
    { for name, job in local.jobs : name => local.schedules[name].text },
    {
      bridge    = "Forwards the log from Kafka to Pub/Sub."
      migrate   = "Brings the database's tables up to date."
      push      = "Is Pub/Sub when it calls ingest."
      scheduler = "Is the clock when it starts a job."
      build     = "Builds the functions."
    },
  )
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  bucket       = "projects/_/buckets/${google_storage_bucket.artifacts.name}/objects/"

  readers    = [for part, needs in local.needs : part if contains(needs, "objects_url") && !contains(keys(local.jobs), part)]
  writers    = [for part, needs in local.needs : part if contains(needs, "objects_url") && contains(keys(local.jobs), part)]
  publishers = [for part, needs in local.needs : part if contains(needs, "delivery_url")]
}

resource "google_service_account" "part" {
  for_each     = local.parts
  account_id   = "marquee-${each.key}"
  display_name = "Marquee ${each.key}"
  description  = each.value
  depends_on   = [google_project_service.enabled]
}

# Artifacts: functions read them, jobs add new ones. No object is replaced except the release document.
resource "google_storage_bucket_iam_member" "reader" {
  for_each = toset(concat(local.readers, local.writers))
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.objectViewer"
  member   = google_service_account.part[each.key].member
}

resource "google_storage_bucket_iam_member" "adder" {
  for_each = toset(local.writers)
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.objectCreator"
  member   = google_service_account.part[each.key].member
}

# The monitor steers experiments: it publishes releases, and keeps its judgement of a harmful version with the reports of
# the release gate.
resource "google_storage_bucket_iam_member" "controller" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser"
  member = google_service_account.part["monitor"].member
  condition {
    title       = "releases"
    description = "The numbered releases and the release document."
    expression  = "resource.name.startsWith(\"${local.bucket}releases/\")"
  }
}

resource "google_storage_bucket_iam_member" "judge" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectCreator"
  member = google_service_account.part["monitor"].member
  condition {
    title       = "gate reports"
    description = "A report is written once."
    expression  = "resource.name.startsWith(\"${local.bucket}gate_reports/\")"
  }
}

resource "google_storage_bucket_iam_member" "releaser" {
  for_each = toset(local.writers)
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.objectUser"
  member   = google_service_account.part[each.key].member
  condition {
    title       = "the release document"
    description = "The only objects that may be replaced: what serves, and the cache of the movie service."
    expression  = "resource.name == \"${local.bucket}releases/current.json\" || resource.name == \"${local.bucket}catalog/movies.json\""
  }
}

# Retraining deletes snapshots that have expired.
resource "google_storage_bucket_iam_member" "expirer" {
  for_each = toset(local.writers)
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.objectUser"
  member   = google_service_account.part[each.key].member
  condition {
    title       = "snapshots"
    description = "Snapshots of the training data, which expire."
    expression  = "resource.name.startsWith(\"${local.bucket}snapshots/\")"
  }
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = toset(local.publishers)
  topic    = google_pubsub_topic.events.id
  role     = "roles/pubsub.publisher"
  member   = google_service_account.part[each.key].member
}

# The service agent of Pub/Sub moves undeliverable messages and issues tokens of the push account.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  subscription = google_pubsub_subscription.ingest.id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_service_account_iam_member" "push" {
  service_account_id = google_service_account.part["push"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.sources.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.part["build"].member
}

resource "google_artifact_registry_repository_iam_member" "build" {
  repository = google_artifact_registry_repository.images.id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.part["build"].member
}

resource "google_project_iam_member" "build" {
  for_each = {
    "roles/logging.logWriter"    = null
    "roles/storage.objectViewer" = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}\")"
  }
  project = var.project_id
  role    = each.key
  member  = google_service_account.part["build"].member
  dynamic "condition" {
    for_each = each.value == null ? [] : [each.value]
    content {
      title      = "where Cloud Functions keeps sources"
      expression = condition.value
    }
  }
}
