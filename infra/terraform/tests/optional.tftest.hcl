# The parts that are there if asked for, and the answers to what is asked wrongly.

mock_provider "google" {}
mock_provider "timescale" {
  mock_resource "timescale_service" {
    defaults = { username = "tsdbadmin", pooler_hostname = "pooler.example.edu", pooler_port = 5433 }
  }
}
mock_provider "grafana" {}
mock_provider "confluent" {
  mock_resource "confluent_kafka_cluster" {
    defaults = { bootstrap_endpoint = "SASL_SSL://kafka.example.edu:9092", rbac_crn = "crn://example" }
  }
}

variables {
  project_id = "marquee-test"
  commit     = "0123456789abcdef0123456789abcdef01234567"
  kafka      = { bootstrap = "kafka.example.edu:9093", username = "bridge" }
  secrets    = { database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x" }
}

run "timescale_cloud" {
  command = apply
  variables {
    timescale = { project_id = "abc" }
    secrets   = { kafka_password = "x", timescale_password = "x", timescale_access_key = "x", timescale_secret_key = "x" }
  }
  assert {
    condition     = timescale_service.marquee[0].connection_pooler_enabled && timescale_service.marquee[0].environment_tag == "PROD"
    error_message = "Functions come and go: they need the pooler."
  }
  assert {
    condition     = timescale_service.marquee[0].password_wo == null && timescale_service.marquee[0].region_code == "us-east-1"
    error_message = "Its password is in the state, or it is far away."
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
    error_message = "The bridge does not find the cluster."
  }
  assert {
    condition     = output.confluent_bridge != null
    error_message = "Nobody knows for whom to make a key."
  }
}

run "grafana_cloud" {
  command = apply
  variables {
    grafana         = { url = "https://grafana.example.edu", database_host = "db.example.edu:5432", database_name = "tsdb", database_username = "reader" }
    grafana_secrets = { database_password = "x", slack_webhook = "https://hooks.example.edu/x" }
  }
  assert {
    condition     = grafana_data_source.database[0].uid == "marquee" && jsondecode(grafana_data_source.database[0].json_data_encoded).sslmode == "require"
    error_message = "The dashboards do not find the database, or find it in the open."
  }
  assert {
    condition     = length(grafana_dashboard.this) == length(fileset("../../dashboards", "*.json"))
    error_message = "A dashboard is missing."
  }
  assert {
    condition     = one([for p in grafana_notification_policy.marquee[0].policy : p.contact_point]) == "marquee-slack"
    error_message = "Alerts do not reach Slack."
  }
  assert {
    condition     = toset(flatten([for g in values(grafana_rule_group.this) : [for r in g.rule : r.uid]])) == toset(flatten([for g in yamldecode(file("../../dashboards/alerts.yaml")).groups : [for r in g.rules : r.uid]]))
    error_message = "A rule is missing, or one is there that no file has."
  }
  assert {
    condition     = alltrue(flatten([for g in values(grafana_rule_group.this) : [for r in g.rule : length(r.data) == 3 && r.labels.app == "marquee" && r.annotations["runbook_url"] != "" && r.annotations["__dashboardUid__"] != ""]]))
    error_message = "A rule lost its query, its route, its runbook or its panel on the way."
  }
  assert {
    condition     = one([for r in grafana_rule_group.this["marquee-every-minute"].rule : "${r.for} ${r.no_data_state} ${r.exec_err_state}" if r.uid == "marquee-stream-silent"]) == "2m Alerting Alerting"
    error_message = "Silence would not fire."
  }
  assert {
    condition     = strcontains(one([for r in grafana_rule_group.this["marquee-every-minute"].rule : r.data[0].model if r.uid == "marquee-lag"]), "$__timeFilter(time)") && one([for r in grafana_rule_group.this["marquee-every-minute"].rule : r.data[0].relative_time_range[0].from if r.uid == "marquee-lag"]) == 180
    error_message = "A macro or a span of time was lost on the way."
  }
  assert {
    condition     = grafana_rule_group.this["marquee-every-five-minutes"].interval_seconds == 300 && one(grafana_contact_point.slack[0].slack).text != null && strcontains(grafana_message_template.marquee[0].template, "marquee.text")
    error_message = "The message's template is not there, or the interval is another."
  }
}

run "refuses_a_setting_that_nothing_needs" {
  command = plan
  variables {
    settings = { rating_maximum = "10" }
  }
  expect_failures = [var.settings]
}

run "refuses_a_place_as_a_setting" {
  command = plan
  variables {
    settings = { objects_url = "gs://elsewhere" }
  }
  expect_failures = [var.settings]
}

run "refuses_a_database_in_the_open" {
  command = plan
  variables {
    secrets = { database_url = "postgresql://app:x@db.example.edu:5432/marquee" }
  }
  expect_failures = [var.secrets]
}

run "refuses_kafka_in_the_open" {
  command = plan
  variables {
    kafka = { bootstrap = "kafka.example.edu:9092", username = "x", security = "PLAINTEXT" }
  }
  expect_failures = [var.kafka]
}

run "refuses_a_short_commit" {
  command = plan
  variables {
    commit = "0123456"
  }
  expect_failures = [var.commit]
}

run "refuses_any_branch_of_github" {
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
