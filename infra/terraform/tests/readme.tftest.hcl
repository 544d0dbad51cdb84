# The example of README.md; tests/infra/test_terraform.py sees that it is the same.

mock_provider "google" {}
mock_provider "timescale" {}
mock_provider "grafana" {}
mock_provider "mongodbatlas" {}
mock_provider "confluent" {}

variables {
  project_id        = "marquee-prod"
  region            = "us-east4"
  commit            = "0123456789abcdef0123456789abcdef01234567" # git rev-parse HEAD
  kafka             = { bootstrap = "kafka.example.edu:9093", username = "bridge" }
  timescale         = { project_id = "abcdef0123" }
  alert_emails      = ["oncall@example.edu"]
  budget            = { billing_account = "012345-6789AB-CDEF01", amount = 50 }
  github            = { repository_id = "123456", owner_id = "7890", state_bucket = "marquee-prod-state" }
  recommend_callers = ["serviceAccount:movies@marquee-stream.iam.gserviceaccount.com"] # the movie service
  settings          = { rating_scale = "1-10", time_zone = "America/New_York" }
}

run "example" {
  command = plan
  variables {
    secrets = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, kafka_password = "x", timescale_password = "x", timescale_access_key = "x", timescale_secret_key = "x" }
  }
  assert {
    condition     = length(timescale_service.marquee) == 1 && length(google_billing_budget.month) == 1
    error_message = "The example does not make what it says."
  }
}
