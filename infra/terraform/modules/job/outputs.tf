output "name" {
  description = "Name of the job in Cloud Run's API."
  value       = google_cloud_run_v2_job.this.name
}

output "config" {
  description = "Configuration of the job, for the tests."
  value = merge(google_cloud_run_v2_job.this.template[0].template[0], {
    run_execution_token = google_cloud_run_v2_job.this.run_execution_token
  })
}
