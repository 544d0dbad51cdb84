output "url" {
  description = "Where it is called."
  value       = google_cloudfunctions2_function.this.service_config[0].uri # the address that internal callers may use
}

output "service" {
  description = "The Cloud Run service beneath it, which says who may call it."
  value       = google_cloudfunctions2_function.this.name
}

output "config" {
  description = "How it runs, for the tests."
  value       = google_cloudfunctions2_function.this.service_config[0]
}
