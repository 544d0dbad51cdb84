# Secrets are written and never read, so their values are in no plan and no state.

locals {
  # The service of Timescale Cloud determines it, or the variable gives it.
  database_url = one(timescale_service.marquee) == null ? var.secrets.database_url : format(
    "postgresql://%s:%s@%s:%d/tsdb?sslmode=require",
    one(timescale_service.marquee).username,
    urlencode(var.secrets.timescale_password),
    one(timescale_service.marquee).pooler_hostname,
    one(timescale_service.marquee).pooler_port,
  )
  secret_values = merge({
    database-url    = local.database_url
    database-logins = join(",", [for part, password in var.secrets.database_passwords : "${part}=${password}"])
    kafka-options = join(",", [
      for name, value in merge({ "security.protocol" = var.kafka.security }, var.kafka.security == "SSL" ? {} : {
        "sasl.mechanism"                             = var.kafka.sasl_mechanism
        "sasl.username"                              = var.kafka.username
        "sasl.password"                              = coalesce(var.secrets.kafka_password, "missing")
      }, var.kafka.options) : "${name}=${replace(value, ",", "\\,")}"
    ])
    # A hyphen stands for none.
    api-keys     = coalesce(var.secrets.api_keys, "-")
    token-secret = coalesce(var.secrets.token_secret, "-")
    privacy-key  = coalesce(var.secrets.privacy_key, "-")
    # Written only with the app.
    documents-url = local.documents_url
    recommend-key = coalesce(var.secrets.recommend_key, "-")
    }, { for part in local.login_parts : "database-url-${part}" =>
    replace(local.database_url, "/^(postgres(?:ql)?://)(?:[^/?]*@)?/", "$${1}marquee_${part}_login:${var.secrets.database_passwords[part]}@")
  })
  secret_readers = merge([for part, secrets in local.secrets_of : {
    for secret in values(secrets) : "${part}-${secret}" => { part = part, secret = secret }
  }]...)
}

resource "google_secret_manager_secret" "this" {
  # checkov:skip=CKV_GCP_92:Google's keys encrypt it.
  for_each            = local.secret_names
  secret_id           = "marquee-${each.key}"
  deletion_protection = var.deletion_protection
  version_destroy_ttl = "604800s"
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
  depends_on = [google_project_service.enabled]
}

resource "google_secret_manager_secret_version" "this" {
  for_each               = local.secret_names
  secret                 = google_secret_manager_secret.this[each.key].id
  secret_data_wo         = local.secret_values[each.key]
  secret_data_wo_version = var.secrets_version
  lifecycle {
    create_before_destroy = true
  }
}

# Each part may read only the secrets that it needs.
resource "google_secret_manager_secret_iam_member" "reader" {
  for_each  = local.secret_readers
  secret_id = google_secret_manager_secret.this[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.part[each.value.part].member
}
