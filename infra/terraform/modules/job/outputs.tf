output "name" {
  description = "Name of the job in Cloud Run's API."
  value       = google_cloud_run_v2_job.this.name
}

output "ready" {
  description = "Whether the job is ready: with `run_now`, whether that run succeeded."
  value       = try(google_cloud_run_v2_job.this.terminal_condition[0].state, "") == "CONDITION_SUCCEEDED"
}

output "config" {
  description = "Configuration of the job, for the tests."
  value = merge(google_cloud_run_v2_job.this.template[0].template[0], {
    run_execution_token = google_cloud_run_v2_job.this.run_execution_token
    deletion_protection = google_cloud_run_v2_job.this.deletion_protection
    apply_timeout       = local.apply_timeout
  })
}
