# Values that differ between installations. The others are in infra/functions.yaml, infra/schedules.yaml and these files.

variable "project_id" {
  description = "The Google Cloud project. It should hold nothing else."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project's id has 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "Region of all resources. us-east4 is near AWS's us-east-1, where Timescale Cloud runs."
  type        = string
  default     = "us-east4"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is named like us-east4 or europe-west3."
  }
}

variable "commit" {
  description = "Git commit to deploy; its images are in the registry, its bundles in `bundles`."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{40}$", var.commit))
    error_message = "A commit is 40 hexadecimal digits: git rev-parse HEAD."
  }
}

variable "bundles" {
  description = "Directory of the bundles <function>.zip, which `make bundle` writes."
  type        = string
  default     = "../../dist/bundles"
}

variable "settings" {
  description = "Settings that differ from their defaults, by lower-case name: {rating_scale = \"1-10\"}."
  type        = map(string)
  default     = {}
  validation {
    condition     = length(setsubtract(keys(var.settings), local.needed)) == 0
    error_message = "No part reads these settings: ${join(", ", setsubtract(keys(var.settings), local.needed))}. See docs/configuration.md."
  }
  validation {
    condition     = length(setintersection(keys(var.settings), local.reserved)) == 0
    error_message = "Terraform determines these settings itself: ${join(", ", local.reserved)}."
  }
  validation {
    condition     = lookup(var.settings, "access", "") != "platform" || !contains(concat(var.recommend_callers, var.events_callers), "allUsers")
    error_message = "settings.access is platform, but allUsers may call, whom the platform does not authenticate: give secrets.api_keys, or set access to public."
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
    options        = optional(map(string), {}) # of librdkafka, such as group.id
  })
  validation {
    condition     = var.confluent != null || can(regex("^[^\\s,:]+:[0-9]+(,[^\\s,:]+:[0-9]+)*$", var.kafka.bootstrap))
    error_message = "kafka.bootstrap must be host:port, or several separated by commas."
  }
  validation {
    condition     = contains(["SSL", "SASL_SSL"], var.kafka.security)
    error_message = "The event log crosses the internet, so kafka.security must be SASL_SSL or SSL."
  }
}

variable "bridges" {
  description = "Instances of the bridge, at most as many as the topic has partitions; 0 stops it."
  type        = number
  default     = 1
  validation {
    condition     = var.bridges >= 0 && var.bridges <= 32 && floor(var.bridges) == var.bridges
    error_message = "bridges must be an integer from 0 to 32."
  }
}

variable "min_instances" {
  description = "Instances that stay started, by function: {recommend = 1}. Without one, a cold start waits for its network, which Google says may take 30 s and more."
  type        = map(number)
  default     = {}
  validation {
    condition     = length(setsubtract(keys(var.min_instances), keys(yamldecode(file("${path.module}/../functions.yaml")).functions))) == 0
    error_message = "min_instances names a function that is not in infra/functions.yaml."
  }
  validation {
    condition     = alltrue([for count in values(var.min_instances) : count >= 0 && floor(count) == count])
    error_message = "min_instances must have integers of at least 0."
  }
}

variable "recommend_callers" {
  description = "Who may call `recommend`, as IAM members: serviceAccount:NAME@PROJECT.iam.gserviceaccount.com, or allUsers for callers without credentials, which an organization's policy may refuse; they need a key of secrets.api_keys, unless settings.access is public."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for member in var.recommend_callers : can(regex("^(allUsers|allAuthenticatedUsers|(user|group|domain|serviceAccount|principal|principalSet):\\S+)$", member))])
    error_message = "recommend_callers must be IAM members: allUsers, or serviceAccount:..., user:..., group:..."
  }
}

variable "events_callers" {
  description = "Who may call `events`, as IAM members like those of `recommend_callers`. With allUsers, callers need a key of secrets.api_keys."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for member in var.events_callers : can(regex("^(allUsers|allAuthenticatedUsers|(user|group|domain|serviceAccount|principal|principalSet):\\S+)$", member))])
    error_message = "events_callers must be IAM members: allUsers, or serviceAccount:..., user:..., group:..."
  }
}

variable "migrate_attempt" {
  description = "Increase by one to run a failed migration of the same commit again."
  type        = number
  default     = 1
  validation {
    condition     = var.migrate_attempt >= 1 && floor(var.migrate_attempt) == var.migrate_attempt
    error_message = "migrate_attempt must be an integer of at least 1."
  }
}

variable "database_connections" {
  description = "Connections that the database, or its pooler, accepts."
  type        = number
  default     = 100
}

variable "secrets" {
  description = "Secrets, given as TF_VAR_secrets. They are in no plan and no state; increase secrets_version to send changed ones."
  type = object({
    database_url         = optional(string) # of the tables' owner, unless timescale is given
    database_passwords   = map(string)      # by part, of the logins that `migrate` makes
    kafka_password       = optional(string)
    timescale_password   = optional(string)
    timescale_access_key = optional(string)
    timescale_secret_key = optional(string)
    grafana_token        = optional(string)
    confluent_key        = optional(string)
    confluent_secret     = optional(string)
    api_keys             = optional(string) # entries that `marquee keys create` makes, separated by commas
    token_secret         = optional(string)
    privacy_key          = optional(string) # of forgotten users; it never changes
    documents_url        = optional(string) # of the app's MongoDB, unless app.atlas is given
    recommend_key        = optional(string) # with which the app calls recommend, unless Cloud Run knows it
    atlas_password       = optional(string)
    atlas_public_key     = optional(string)
    atlas_private_key    = optional(string)
  })
  ephemeral = true
  sensitive = true
  validation {
    condition     = var.timescale != null || can(regex("^postgres(ql)?://.*sslmode=(require|verify-ca|verify-full)", var.secrets.database_url))
    error_message = "secrets.database_url must be postgresql://user:password@host:port/name?sslmode=require, unless timescale creates the database."
  }
  validation {
    condition = alltrue([
      for part in jsondecode(file("${path.module}/../needs.json")).logins :
      can(regex("^[0-9A-Za-z._~-]{16,}$", var.secrets.database_passwords[part])) || (part == "app" && var.app == null)
    ])
    error_message = "secrets.database_passwords must have a password of at least 16 letters, digits, dots, hyphens, tildes or underscores for each of ${join(", ", jsondecode(file("${path.module}/../needs.json")).logins)}; that of app only with the app."
  }
  validation {
    condition     = var.kafka.security == "SSL" || try(length(var.secrets.kafka_password), 0) > 0
    error_message = "secrets.kafka_password is missing: kafka.security is SASL_SSL."
  }
  validation {
    condition     = var.timescale == null || alltrue([for secret in [var.secrets.timescale_password, var.secrets.timescale_access_key, var.secrets.timescale_secret_key] : try(length(secret), 0) > 0])
    error_message = "secrets must have timescale_password, timescale_access_key and timescale_secret_key, because timescale creates the database."
  }
  validation {
    condition     = try(var.app.atlas, null) == null || alltrue([for secret in [var.secrets.atlas_password, var.secrets.atlas_public_key, var.secrets.atlas_private_key] : try(length(secret), 0) > 0])
    error_message = "secrets must have atlas_password, atlas_public_key and atlas_private_key, because app.atlas creates the MongoDB."
  }
  validation {
    condition     = var.app == null || try(var.app.atlas, null) != null || can(regex("^mongodb(\\+srv)?://", var.secrets.documents_url))
    error_message = "secrets.documents_url must be mongodb+srv://user:password@host/marquee, unless app.atlas creates the MongoDB."
  }
}

variable "app" {
  description = "Deploys the app, open to everybody. movies_url is the movie service that plays and rates. With atlas, its MongoDB is created at MongoDB Atlas; without, secrets.documents_url is its address."
  type = object({
    movies_url           = string
    android_certificates = optional(list(string), [])
    atlas = optional(object({
      org_id = string
      region = optional(string, "EASTERN_US")
    }))
  })
  default = null
  validation {
    condition     = var.app == null || can(regex("^https?://", var.app.movies_url))
    error_message = "app.movies_url must begin with https:// or http://."
  }
}

variable "secrets_version" {
  description = "Increase by one to send changed `secrets`."
  type        = number
  default     = 1
  validation {
    condition     = var.secrets_version >= 1 && floor(var.secrets_version) == var.secrets_version
    error_message = "secrets_version must be an integer of at least 1."
  }
}

variable "alert_emails" {
  description = "E-mail addresses for alerts of the platform."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alert_emails must be e-mail addresses."
  }
}

variable "deletion_protection" {
  description = "If true, jobs, the worker pool, secrets and buckets with objects cannot be destroyed. Apply false before `terraform destroy`."
  type        = bool
  default     = true
}

variable "github" {
  description = "The repository whose workflows plan and apply. The ids are numbers: gh api repos/OWNER/NAME --jq .id,.owner.id"
  type = object({
    repository_id    = string
    owner_id         = string
    ref              = optional(string, "refs/heads/main")
    environment      = optional(string, "production")
    plan_environment = optional(string, "plan")
    state_bucket     = string
  })
  default = null
  validation {
    condition     = var.github == null || can(regex("^[0-9]+ [0-9]+$", "${var.github.repository_id} ${var.github.owner_id}"))
    error_message = "repository_id and owner_id must be numbers; names can be transferred, ids cannot."
  }
  validation {
    condition     = var.github == null || can(regex("^refs/(heads|tags)/[^*]+$", var.github.ref))
    error_message = "ref must be one branch or tag, such as refs/heads/main."
  }
}

variable "budget" {
  description = "Monthly budget in the billing account's currency; exceeding it sends a mail."
  type = object({
    billing_account = string
    amount          = number
  })
  default = null
  validation {
    condition     = var.budget == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "billing_account must look like 012345-6789AB-CDEF01."
  }
}

variable "timescale" {
  description = "Creates a service at Timescale Cloud. Without it, secrets.database_url is the address of the database."
  type = object({
    project_id = string
    region     = optional(string, "us-east-1")
    milli_cpu  = optional(number, 500)
    memory_gb  = optional(number, 2)
  })
  default = null
}

variable "confluent" {
  description = "Creates a cluster at Confluent Cloud. Without it, kafka.bootstrap is the address of Kafka."
  type = object({
    cloud  = optional(string, "GCP")
    region = optional(string, "us-east4")
  })
  default = null
}

variable "grafana" {
  description = "Creates the dashboards and alert rules in a Grafana; the token is in `secrets`."
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
    error_message = "grafana.url must begin with https://."
  }
}

variable "grafana_secrets" {
  description = "Secrets of the Grafana part. They are in the state, because its provider has no write-only arguments: use a read-only role and a webhook that can only post."
  type = object({
    database_password = string
    slack_webhook     = string
  })
  default   = null
  sensitive = true
  validation {
    condition     = (var.grafana == null) == (var.grafana_secrets == null)
    error_message = "Give both grafana and grafana_secrets, or neither."
  }
}

variable "spark" {
  description = "Retrain on Dataproc Serverless instead of in one Cloud Run job: {executors = 4}. See docs/spark.md."
  type = object({
    executors = optional(number, 4)
    driver_gb = optional(number, 16)
  })
  default = null
  validation {
    condition     = var.spark == null || try(var.spark.executors >= 2 && floor(var.spark.executors) == var.spark.executors, false)
    error_message = "spark.executors must be an integer of at least 2, which Dataproc Serverless needs."
  }
}
