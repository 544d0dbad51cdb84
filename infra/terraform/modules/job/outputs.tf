output "name" {
  description = "By which Cloud Run's API starts it."
  value       = google_cloud_run_v2_job.this.name
}

output "config" {
  description = "How it runs, for the tests."
  value = merge(google_cloud_run_v2_job.this.template[0].template[0], {
    run_execution_token = google_cloud_run_v2_job.this.run_execution_token
  })
}
