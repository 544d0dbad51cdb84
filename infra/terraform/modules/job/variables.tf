variable "name" {
  description = "Name of the schedule in infra/schedules.yaml, or migrate."
  type        = string
}

variable "region" {
  description = "Region."
  type        = string
}

variable "image" {
  description = "Image of one commit."
  type        = string
}

variable "account" {
  description = "Service account of the job."
  type        = string
}

variable "timeout_s" {
  description = "Timeout of a run in seconds."
  type        = number
}

variable "retries" {
  description = "Retries of a failed run."
  type        = number
  default     = 0
}

variable "limits" {
  description = "Limits of processors and memory."
  type        = object({ cpu = string, memory = string })
  default     = { cpu = "1", memory = "512Mi" }
}

variable "args" {
  description = "Arguments of the entry point."
  type        = list(string)
  default     = []
}

variable "run_now" {
  description = "Token; applying a new value runs the job to its end."
  type        = string
  default     = null
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

variable "deletion_protection" {
  description = "If true, the job cannot be destroyed."
  type        = bool
}
