# Values for the next steps of an installation.

output "recommend_url" {
  description = "URL that the streaming service calls: <url>/recommend/<user_id>. To check it from outside use /version; Google reserves paths that end in z, such as /healthz."
  value       = module.function["recommend"].url
}

output "events_url" {
  description = "URL to which apps and services send events: POST <url>/events."
  value       = module.function["events"].url
}

output "app_url" {
  description = "URL of the app, if it is deployed."
  value       = var.app == null ? null : module.function["app"].url
}

output "ingest_url" {
  description = "URL of `ingest`, and the audience that a token must name."
  value       = local.ingest_url
}

output "egress_address" {
  description = "Static address of all egress; allow it at the database and at Kafka."
  value       = google_compute_address.egress.address
}

output "images" {
  description = "Registry of the jobs' images: <images>/<job>:<commit>."
  value       = local.images
}

output "artifacts" {
  description = "MARQUEE_OBJECTS_URL, for `marquee release list`."
  value       = local.provided.objects_url
}

output "connections" {
  description = "Database connections with every instance running."
  value       = local.connections_needed
  precondition {
    condition     = local.connections_needed <= var.database_connections
    error_message = "With every instance running, ${local.connections_needed} connections are needed, but the database accepts ${var.database_connections}: lower instances.max in infra/functions.yaml, or raise the limit of the database."
  }
}

output "github" {
  description = "Variables of the GitHub repository."
  value = var.github == null ? null : {
    GOOGLE_PROJECT       = var.project_id
    GOOGLE_REGION        = var.region
    GOOGLE_PROVIDER      = google_iam_workload_identity_pool_provider.github[0].name
    GOOGLE_PLAN_ACCOUNT  = google_service_account.github["plan"].email
    GOOGLE_BUILD_ACCOUNT = google_service_account.github["build"].email
    GOOGLE_APPLY_ACCOUNT = google_service_account.github["apply"].email
    STATE_BUCKET         = var.github.state_bucket
  }
}

output "confluent_bridge" {
  description = "Account at Confluent Cloud for which to create the bridge's API key."
  value       = one(module.confluent[*].bridge)
}
