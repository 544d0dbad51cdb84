# What differs between two installations. What does not is in infra/functions.yaml, infra/schedules.yaml and here.

variable "project_id" {
  description = "The Google Cloud project. It should hold nothing else."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project's id has 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "Where everything runs. us-east4 is beside AWS's us-east-1, where Timescale Cloud runs."
  type        = string
  default     = "us-east4"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is named like us-east4 or europe-west3."
  }
}

variable "commit" {
  description = "The git commit to run: its images are in the registry, its bundles in `bundles`."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{40}$", var.commit))
    error_message = "A commit is 40 hexadecimal digits: git rev-parse HEAD."
  }
}

variable "bundles" {
  description = "The directory with <function>.zip, as `make bundle` leaves them."
  type        = string
  default     = "../../dist/bundles"
}

variable "settings" {
  description = "Settings that differ from their defaults, by name in small letters: {rating_max = \"10\"}."
  type        = map(string)
  default     = {}
  validation {
    condition     = length(setsubtract(keys(var.settings), local.needed)) == 0
    error_message = "No part needs these: ${join(", ", setsubtract(keys(var.settings), local.needed))}. See docs/configuration.md."
  }
  validation {
    condition     = length(setintersection(keys(var.settings), local.reserved)) == 0
    error_message = "Where the parts are and their secrets are not settings to give here: ${join(", ", local.reserved)}."
  }
}

variable "kafka" {
  description = "The streaming service's Kafka; its password is in `secrets`. With `confluent`, bootstrap is not needed."
  type = object({
    bootstrap      = optional(string, "")
    username       = string
    topic          = optional(string, "movielog")
    security       = optional(string, "SASL_SSL")
    sasl_mechanism = optional(string, "PLAIN")
  })
  validation {
    condition     = var.confluent != null || can(regex("^[^\\s,:]+:[0-9]+(,[^\\s,:]+:[0-9]+)*$", var.kafka.bootstrap))
    error_message = "kafka.bootstrap is host:port, or several joined with commas."
  }
  validation {
    condition     = contains(["SSL", "SASL_SSL"], var.kafka.security)
    error_message = "The log crosses the internet: kafka.security is SASL_SSL or SSL."
  }
}

variable "bridges" {
  description = "Instances of the bridge, no more than the topic has partitions; 0 stops it."
  type        = number
  default     = 1
  validation {
    condition     = var.bridges >= 0 && var.bridges <= 32 && floor(var.bridges) == var.bridges
    error_message = "A whole number from 0 to 32."
  }
}

variable "database_connections" {
  description = "How many connections the database, or its pooler, takes from us."
  type        = number
  default     = 100
}

variable "secrets" {
  description = "Secrets, by TF_VAR_secrets. They are in no plan and in no state; count up secrets_version to send them anew."
  type = object({
    database_url         = optional(string) # unless timescale is given
    kafka_password       = optional(string)
    timescale_password   = optional(string)
    timescale_access_key = optional(string)
    timescale_secret_key = optional(string)
    grafana_token        = optional(string)
    confluent_key        = optional(string)
    confluent_secret     = optional(string)
  })
  ephemeral = true
  sensitive = true
  validation {
    condition     = var.timescale != null || can(regex("^postgres(ql)?://.*sslmode=(require|verify-ca|verify-full)", var.secrets.database_url))
    error_message = "secrets.database_url is postgresql://user:password@host:port/name?sslmode=require, unless timescale makes the database."
  }
}

variable "secrets_version" {
  description = "Counted up by one to send `secrets` anew, when one of them changed."
  type        = number
  default     = 1
  validation {
    condition     = var.secrets_version >= 1 && floor(var.secrets_version) == var.secrets_version
    error_message = "A whole number from 1."
  }
}

variable "alert_emails" {
  description = "Who is told when the platform (not the model) is ill."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "These are e-mail addresses."
  }
}

variable "deletion_protection" {
  description = "Whether jobs, worker pools and secrets refuse to be destroyed."
  type        = bool
  default     = true
}

variable "github" {
  description = "The repository whose workflows plan and apply. The ids are numbers: gh api repos/OWNER/NAME --jq .id,.owner.id"
  type = object({
    repository_id = string
    owner_id      = string
    ref           = optional(string, "refs/heads/main")
    environment   = optional(string, "production")
    state_bucket  = string
  })
  default = null
  validation {
    condition     = var.github == null || can(regex("^[0-9]+ [0-9]+$", "${var.github.repository_id} ${var.github.owner_id}"))
    error_message = "repository_id and owner_id are numbers: names can change hands, ids cannot."
  }
  validation {
    condition     = var.github == null || can(regex("^refs/(heads|tags)/[^*]+$", var.github.ref))
    error_message = "ref is one branch or tag, such as refs/heads/main."
  }
}

variable "budget" {
  description = "What a month may cost before a mail is sent, in the billing account's currency."
  type = object({
    billing_account = string
    amount          = number
  })
  default = null
  validation {
    condition     = var.budget == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "A billing account looks like 012345-6789AB-CDEF01."
  }
}

variable "timescale" {
  description = "Makes a service at Timescale Cloud. Without it, secrets.database_url says where the database is."
  type = object({
    project_id = string
    region     = optional(string, "us-east-1")
    milli_cpu  = optional(number, 500)
    memory_gb  = optional(number, 2)
  })
  default = null
}

variable "confluent" {
  description = "Makes a cluster at Confluent Cloud. Without it, kafka.bootstrap says where Kafka is."
  type = object({
    cloud  = optional(string, "GCP")
    region = optional(string, "us-east4")
  })
  default = null
}

variable "grafana" {
  description = "Puts the dashboards and the alert rules into a Grafana; the token is in `secrets`."
  type = object({
    url               = string
    database_host     = string # host:port
    database_name     = string
    database_username = string
    slack_recipient   = optional(string, "#marquee")
  })
  default = null
  validation {
    condition     = var.grafana == null || can(regex("^https://", var.grafana.url))
    error_message = "grafana.url begins with https://."
  }
}

variable "grafana_secrets" {
  description = "Kept in the state, since Grafana's provider knows no write-only argument: a role that can only read, a webhook that can only post."
  type = object({
    database_password = string
    slack_webhook     = string
  })
  default   = null
  sensitive = true
  validation {
    condition     = (var.grafana == null) == (var.grafana_secrets == null)
    error_message = "grafana and grafana_secrets go together."
  }
}
