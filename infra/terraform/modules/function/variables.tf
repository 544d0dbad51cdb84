variable "name" {
  description = "The function's name in infra/functions.yaml."
  type        = string
}

variable "function" {
  description = "Its entry there; infra/functions.schema.json says what may be in it."
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
  description = "Where it runs."
  type        = string
}

variable "project_id" {
  description = "The project of its secrets."
  type        = string
}

variable "commit" {
  description = "The commit that it is built from."
  type        = string
}

variable "bundle" {
  description = "Its source archive, made by `make bundle`."
  type        = string
}

variable "bucket" {
  description = "Where source archives are put."
  type        = string
}

variable "repository" {
  description = "Where the built image is put."
  type        = string
}

variable "build_account" {
  description = "The service account that builds."
  type        = string
}

variable "account" {
  description = "The service account that it runs as."
  type        = string
}

variable "environment" {
  description = "Its environment variables."
  type        = map(string)
}

variable "secrets" {
  description = "Secret versions by environment variable."
  type        = map(object({ secret = string, version = string }))
}

variable "network" {
  description = "The network that it leaves by."
  type        = string
}

variable "subnetwork" {
  description = "The subnetwork that it leaves by."
  type        = string
}
