output "url" {
  description = "URL of the function."
  value       = google_cloudfunctions2_function.this.service_config[0].uri # the address for internal callers
}

output "service" {
  description = "Cloud Run service of the function, for its invokers."
  value       = google_cloudfunctions2_function.this.name
}

output "config" {
  description = "Configuration of the service, for the tests."
  value       = google_cloudfunctions2_function.this.service_config[0]
}
