variable "name" {
  description = "Name of the function in infra/functions.yaml."
  type        = string
}

variable "function" {
  description = "Entry of infra/functions.yaml, whose schema is infra/functions.schema.json."
  type = object({
    text      = string
    source    = string
    signature = string
    public    = bool
    memory_mb = number
    timeout_s = number
    instances = object({ min = number, max = number })
    workers   = number
    threads   = number
    health    = string
    ready     = optional(string)
  })
  validation {
    condition     = var.function.signature == "http"
    error_message = "Only HTTP functions are deployed: Pub/Sub and the scheduler call them by HTTP."
  }
}

variable "region" {
  description = "Region."
  type        = string
}

variable "project_id" {
  description = "Project of the secrets."
  type        = string
}

variable "commit" {
  description = "Commit of the source."
  type        = string
}

variable "bundle" {
  description = "Path of the source archive, which `make bundle` writes."
  type        = string
}

variable "bucket" {
  description = "Bucket of the source archives."
  type        = string
}

variable "repository" {
  description = "Registry of the built image."
  type        = string
}

variable "build_account" {
  description = "Service account of the build."
  type        = string
}

variable "account" {
  description = "Service account of the function."
  type        = string
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
}

variable "secrets" {
  description = "Secret versions by environment variable."
  type        = map(object({ secret = string, version = string }))
}

variable "network" {
  description = "Network of its egress."
  type        = string
}

variable "subnetwork" {
  description = "Subnetwork of its egress."
  type        = string
}
