# The optional parts, and the errors for invalid variables.

mock_provider "google" {
  mock_resource "google_cloud_run_v2_job" {
    defaults = { terminal_condition = [{ state = "CONDITION_SUCCEEDED", type = "Ready", execution_reason = "", last_transition_time = "", message = "", reason = "", revision_reason = "", severity = "" }] }
  }
}
mock_provider "timescale" {
  mock_resource "timescale_service" {
    defaults = { username = "tsdbadmin", pooler_hostname = "pooler.example.edu", pooler_port = 5433 }
  }
}
mock_provider "grafana" {}
mock_provider "mongodbatlas" {
  mock_resource "mongodbatlas_flex_cluster" {
    defaults = { connection_strings = { standard = "", standard_srv = "mongodb+srv://marquee.example.mongodb.net" } }
  }
}
mock_provider "confluent" {
  mock_resource "confluent_kafka_cluster" {
    defaults = { bootstrap_endpoint = "SASL_SSL://kafka.example.edu:9092", rbac_crn = "crn://example" }
  }
}

variables {
  project_id = "marquee-test"
  commit     = "0123456789abcdef0123456789abcdef01234567"
  kafka      = { bootstrap = "kafka.example.edu:9093", username = "bridge" }
  secrets    = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x" }
}

run "timescale_cloud" {
  command = apply
  variables {
    timescale = { project_id = "abc" }
    secrets   = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, kafka_password = "x", timescale_password = "x", timescale_access_key = "x", timescale_secret_key = "x" }
  }
  assert {
    condition     = timescale_service.marquee[0].connection_pooler_enabled && timescale_service.marquee[0].environment_tag == "PROD"
    error_message = "The functions' connections change often, so they need the pooler."
  }
  assert {
    condition     = timescale_service.marquee[0].password_wo == null && timescale_service.marquee[0].region_code == "us-east-1"
    error_message = "The password is in the state, or the region is far away."
  }
}

run "confluent_cloud" {
  command = apply
  variables {
    confluent = {}
    kafka     = { username = "key" }
  }
  assert {
    condition     = local.values.kafka_bootstrap == "kafka.example.edu:9092"
    error_message = "The bridge lacks the cluster's address."
  }
  assert {
    condition     = output.confluent_bridge != null
    error_message = "The account for the API key is not in the outputs."
  }
}

run "grafana_cloud" {
  command = apply
  variables {
    grafana         = { url = "https://grafana.example.edu", database_host = "db.example.edu:5432", database_name = "tsdb", database_username = "reader" }
    grafana_secrets = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_password = "x", slack_webhook = "https://hooks.example.edu/x" }
  }
  assert {
    condition     = grafana_data_source.database[0].uid == "marquee" && jsondecode(grafana_data_source.database[0].json_data_encoded).sslmode == "require"
    error_message = "The dashboards lack the database, or connect without TLS."
  }
  assert {
    condition     = length(grafana_dashboard.this) == length(fileset("../../dashboards", "*.json"))
    error_message = "A dashboard is missing."
  }
  assert {
    condition     = one([for p in grafana_notification_policy.marquee[0].policy : p.contact_point]) == "marquee-slack"
    error_message = "Alerts have no contact point."
  }
  assert {
    condition     = toset(flatten([for g in values(grafana_rule_group.this) : [for r in g.rule : r.uid]])) == toset(flatten([for g in yamldecode(file("../../dashboards/alerts.yaml")).groups : [for r in g.rules : r.uid]]))
    error_message = "The rules differ from those of the file."
  }
  assert {
    condition     = alltrue(flatten([for g in values(grafana_rule_group.this) : [for r in g.rule : length(r.data) == 3 && r.labels.app == "marquee" && r.annotations["runbook_url"] != "" && r.annotations["__dashboardUid__"] != ""]]))
    error_message = "A rule lacks its query, route, runbook or panel."
  }
  assert {
    condition     = one([for r in grafana_rule_group.this["marquee-every-minute"].rule : "${r.for} ${r.no_data_state} ${r.exec_err_state}" if r.uid == "marquee-stream-silent"]) == "2m Alerting Alerting"
    error_message = "Missing data would not fire."
  }
  assert {
    condition     = strcontains(one([for r in grafana_rule_group.this["marquee-every-minute"].rule : r.data[0].model if r.uid == "marquee-lag"]), "$__timeFilter(time)") && one([for r in grafana_rule_group.this["marquee-every-minute"].rule : r.data[0].relative_time_range[0].from if r.uid == "marquee-lag"]) == 180
    error_message = "A macro or a time range is missing."
  }
  assert {
    condition     = grafana_rule_group.this["marquee-every-five-minutes"].interval_seconds == 300 && one(grafana_contact_point.slack[0].slack).text != null && strcontains(grafana_message_template.marquee[0].template, "marquee.text")
    error_message = "The template is missing, or the interval differs."
  }
}

run "refuses_setting_that_no_part_reads" {
  command = plan
  variables {
    settings = { rating_scales = "1-10" }
  }
  expect_failures = [var.settings]
}

run "refuses_provided_setting" {
  command = plan
  variables {
    settings = { objects_url = "gs://elsewhere" }
  }
  expect_failures = [var.settings]
}

run "refuses_database_without_tls" {
  command = plan
  variables {
    secrets = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee" }
  }
  expect_failures = [var.secrets]
}

run "refuses_missing_password_of_a_login" {
  command = plan
  variables {
    secrets = { database_passwords = { ingest = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x" }
  }
  expect_failures = [var.secrets]
}

run "refuses_password_that_a_url_cannot_hold" {
  command = plan
  variables {
    secrets = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcde@" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x" }
  }
  expect_failures = [var.secrets]
}

run "refuses_missing_kafka_password" {
  command = plan
  variables {
    secrets = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require" }
  }
  expect_failures = [var.secrets]
}

run "refuses_timescale_without_its_secrets" {
  command = plan
  variables {
    timescale = { project_id = "abc" }
    secrets   = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, kafka_password = "x", timescale_password = "x" }
  }
  expect_failures = [var.secrets]
}

run "accepts_kafka_with_certificates_only" {
  command = plan
  variables {
    kafka   = { bootstrap = "kafka.example.edu:9093", username = "", security = "SSL" }
    secrets = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require" }
  }
  assert {
    condition     = length(google_secret_manager_secret_version.this) == 12
    error_message = "A secret has no version, so the parts cannot start."
  }
}

run "refuses_unknown_caller" {
  command = plan
  variables {
    recommend_callers = ["everyone"]
  }
  expect_failures = [var.recommend_callers]
}

run "refuses_min_instances_of_unknown_function" {
  command = plan
  variables {
    min_instances = { recommender = 1 }
  }
  expect_failures = [var.min_instances]
}

run "refuses_kafka_without_tls" {
  command = plan
  variables {
    kafka = { bootstrap = "kafka.example.edu:9092", username = "x", security = "PLAINTEXT" }
  }
  expect_failures = [var.kafka]
}

run "refuses_short_commit" {
  command = plan
  variables {
    commit = "0123456"
  }
  expect_failures = [var.commit]
}

run "refuses_ref_pattern" {
  command = plan
  variables {
    github = { repository_id = "1", owner_id = "2", ref = "refs/heads/*", state_bucket = "b" }
  }
  expect_failures = [var.github]
}

run "refuses_more_instances_than_connections" {
  command = plan
  variables {
    database_connections = 10
  }
  expect_failures = [output.connections]
}

run "app_with_its_own_mongodb" {
  command = apply
  variables {
    app     = { movies_url = "https://movies.example.edu", android_certificates = ["AA:BB"] }
    secrets = { database_passwords = { app = "0123456789abcdef", events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x", documents_url = "mongodb+srv://app:x@cluster.example.edu/marquee" }
  }
  assert {
    condition     = toset([for s in module.function["app"].config.secret_environment_variables : s.key]) == toset(["MARQUEE_DATABASE_URL", "MARQUEE_DOCUMENTS_URL", "MARQUEE_PRIVACY_KEY", "MARQUEE_RECOMMEND_KEY"])
    error_message = "The app has no documents, or secrets that it does not need."
  }
  assert {
    condition     = module.function["app"].config.environment_variables.MARQUEE_MOVIES_URL == "https://movies.example.edu" && startswith(module.function["app"].config.environment_variables.MARQUEE_RECOMMEND_URL, "https://marquee-recommend-")
    error_message = "The app does not know what it calls."
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.invoker["app-allUsers"].member == "allUsers" && !contains(keys(google_cloud_run_v2_service_iam_member.invoker), "recommend-allUsers")
    error_message = "The app is not open, or it opened recommend."
  }
  assert {
    condition     = length(mongodbatlas_flex_cluster.app) == 0
    error_message = "A cluster was created although the MongoDB is given."
  }
}

run "app_on_atlas" {
  command = apply
  variables {
    app     = { movies_url = "https://movies.example.edu", atlas = { org_id = "0123456789abcdef01234567" } }
    secrets = { database_passwords = { app = "0123456789abcdef", events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x", atlas_password = "x", atlas_public_key = "x", atlas_private_key = "x" }
  }
  assert {
    condition     = mongodbatlas_flex_cluster.app["app"].termination_protection_enabled && mongodbatlas_database_user.app["app"].password_wo == null
    error_message = "The cluster can be destroyed, or its password is in the state."
  }
}

run "refuses_an_app_without_documents" {
  command = plan
  variables {
    app = { movies_url = "https://movies.example.edu" }
  }
  expect_failures = [var.secrets]
}

run "spark" {
  command = apply
  variables {
    spark = { executors = 3 }
  }
  assert {
    condition     = endswith(google_cloud_scheduler_job.job["retrain"].http_target[0].uri, "/locations/us-east4/batches") && endswith(google_cloud_scheduler_job.job["retention"].http_target[0].uri, "/jobs/marquee-retention:run")
    error_message = "The schedule of the retraining does not start a batch, or that of another job does."
  }
  assert {
    condition     = local.batch_body["retrain"].pysparkBatch.mainPythonFileUri == "file:///app/main.py" && jsonencode(local.batch_body["retrain-if-requested"].pysparkBatch.args) == jsonencode(["--if-requested"]) && local.batch_body["retrain"].runtimeConfig.properties["spark.executor.instances"] == "3"
    error_message = "The batch does not run the job of the image, or on other executors than asked for."
  }
  assert {
    condition     = !strcontains(jsonencode(local.batch_body), "postgresql://") && strcontains(local.batch_body["retrain"].runtimeConfig.properties["spark.dataproc.driverEnv.MARQUEE_SECRETS"], "MARQUEE_DATABASE_URL")
    error_message = "A secret is in the schedule, or the batch does not know where to read it."
  }
  assert {
    condition     = toset(keys(google_service_account_iam_member.spark_scheduler)) == toset(["retrain", "retrain-if-requested"]) && strcontains(google_storage_bucket_iam_member.spark_staging["retrain"].condition[0].expression, "objects/staging/")
    error_message = "The clock may act as another account, or a batch may delete other objects than its rows."
  }
}

run "spark_of_one_executor_is_refused" {
  command = plan
  variables {
    spark = { executors = 1 }
  }
  expect_failures = [var.spark]
}
