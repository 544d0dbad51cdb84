# What one needs next.

output "recommend_url" {
  description = "What the streaming service calls: <url>/recommend/<user_id>. From outside ask /version, not /healthz: Google keeps paths that end in z."
  value       = module.function["recommend"].url
}

output "ingest_url" {
  description = "Where batches are delivered, and the audience that a token has to name."
  value       = local.ingest_url
}

output "egress_address" {
  description = "The one address that we come from: let it in at the database and at Kafka."
  value       = google_compute_address.egress.address
}

output "images" {
  description = "Where the jobs' images go: <images>/<job>:<commit>."
  value       = local.images
}

output "artifacts" {
  description = "MARQUEE_OBJECTS_URL, for `marquee release list` from a desk."
  value       = local.places.objects_url
}

output "connections" {
  description = "The most connections to the database, when every instance is up."
  value       = local.connections_needed
  precondition {
    condition     = local.connections_needed <= var.database_connections
    error_message = "With every instance up, ${local.connections_needed} connections are needed, and the database takes ${var.database_connections}: lower instances.max in infra/functions.yaml, or give it more."
  }
}

output "github" {
  description = "The variables that the workflows ask for."
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
  description = "The account at Confluent Cloud to make the bridge's API key for."
  value       = one(module.confluent[*].bridge)
}
