# Optional: the dashboards and alert rules, from the files that provision the local Grafana.

locals {
  dashboards = "${path.module}/../../dashboards"
  boards     = var.grafana == null ? toset([]) : fileset(local.dashboards, "*.json")
  # Rule groups in Grafana's provisioning format. Without the file there are none.
  groups  = fileexists("${local.dashboards}/alerts.yaml") ? yamldecode(file("${local.dashboards}/alerts.yaml")).groups : []
  rules   = var.grafana == null ? {} : { for group in local.groups : group.name => group }
  seconds = { s = 1, m = 60, h = 3600 }
  # Message template and notification policy, from the file that Compose gives its Grafana.
  slack  = yamldecode(file("${path.module}/../grafana/provisioning/alerting/slack.yaml"))
  policy = local.slack.policies[0]
}

resource "grafana_folder" "marquee" {
  count = var.grafana == null ? 0 : 1
  title = "Marquee"
  uid   = "marquee"
}

resource "grafana_data_source" "database" {
  count         = var.grafana == null ? 0 : 1
  name          = "Marquee"
  uid           = "marquee" # the dashboards refer to this id
  type          = "grafana-postgresql-datasource"
  url           = var.grafana.database_host
  username      = var.grafana.database_username
  database_name = var.grafana.database_name
  json_data_encoded = jsonencode({
    database        = var.grafana.database_name
    sslmode         = "require"
    timescaledb     = true
    maxOpenConns    = local.grafana_connections
    maxIdleConns    = 2
    connMaxLifetime = 14400
  })
  secure_json_data_encoded = jsonencode({ password = var.grafana_secrets.database_password })
}

resource "grafana_dashboard" "this" {
  for_each    = local.boards
  folder      = grafana_folder.marquee[0].uid
  config_json = file("${local.dashboards}/${each.key}")
  overwrite   = true
  depends_on  = [grafana_data_source.database]
}

resource "grafana_message_template" "marquee" {
  count    = var.grafana == null ? 0 : 1
  name     = local.slack.templates[0].name
  template = local.slack.templates[0].template
}

resource "grafana_contact_point" "slack" {
  count = var.grafana == null ? 0 : 1
  name  = "marquee-slack"
  slack {
    url       = var.grafana_secrets.slack_webhook
    recipient = var.grafana.slack_recipient
    title     = local.slack.contactPoints[0].receivers[0].settings.title
    text      = local.slack.contactPoints[0].receivers[0].settings.text
  }
  depends_on = [grafana_message_template.marquee]
}

# Only alerts of Marquee use this contact point; the routes of other alerts stay as they are.
resource "grafana_notification_policy" "marquee" {
  count         = var.grafana == null ? 0 : 1
  contact_point = "grafana-default-email"
  group_by      = ["grafana_folder", "alertname"]
  policy {
    contact_point   = grafana_contact_point.slack[0].name
    group_by        = ["alertname"]
    group_wait      = local.policy.group_wait
    group_interval  = local.policy.group_interval
    repeat_interval = local.policy.repeat_interval
    matcher {
      label = "app"
      match = "="
      value = "marquee"
    }
  }
}
