# Providers and the backend of the state. Credentials come from the environment (Application Default Credentials,
# GRAFANA_AUTH) or from the ephemeral `var.secrets`, so they are in no plan and no state.

terraform {
  required_version = ">= 1.11" # write-only arguments

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 9"
    }
    timescale = {
      source  = "timescale/timescale"
      version = "~> 2.13"
    }
    grafana = {
      source  = "grafana/grafana"
      version = "~> 4.45"
    }
    mongodbatlas = {
      source  = "mongodb/mongodbatlas"
      version = "~> 2.16"
    }
    confluent = {
      source  = "confluentinc/confluent"
      version = "~> 2.83"
    }
  }

  # `terraform init -backend-config=bucket=...` names the bucket, which must exist first.
  backend "gcs" {
    prefix = "marquee"
  }
}

provider "google" {
  project               = var.project_id
  region                = var.region
  billing_project       = var.project_id
  user_project_override = true
  default_labels        = { app = "marquee" }
}

# An unused provider needs a configuration as well; these values are never sent.
provider "timescale" {
  project_id   = var.timescale == null ? "unused" : var.timescale.project_id
  access_token = var.timescale == null ? "unused" : null
  access_key   = var.timescale == null ? null : var.secrets.timescale_access_key
  secret_key   = var.timescale == null ? null : var.secrets.timescale_secret_key
}

provider "grafana" {
  url  = var.grafana == null ? "https://unused.example.edu" : var.grafana.url
  auth = var.grafana == null ? "unused" : var.secrets.grafana_token
}

provider "mongodbatlas" {
  public_key  = try(var.app.atlas, null) == null ? "unused" : var.secrets.atlas_public_key
  private_key = try(var.app.atlas, null) == null ? "unused" : var.secrets.atlas_private_key
}

provider "confluent" {
  cloud_api_key    = var.confluent == null ? "unused" : var.secrets.confluent_key
  cloud_api_secret = var.confluent == null ? "unused" : var.secrets.confluent_secret
}
