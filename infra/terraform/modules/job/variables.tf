variable "name" {
  description = "The job's name in infra/schedules.yaml, or migrate."
  type        = string
}

variable "region" {
  description = "Where it runs."
  type        = string
}

variable "image" {
  description = "Its image, of one commit."
  type        = string
}

variable "account" {
  description = "The service account that it runs as."
  type        = string
}

variable "timeout_s" {
  description = "How long a run may take."
  type        = number
}

variable "retries" {
  description = "How often a run that failed is started again at once."
  type        = number
  default     = 0
}

variable "limits" {
  description = "Processors and memory."
  type        = object({ cpu = string, memory = string })
  default     = { cpu = "1", memory = "512Mi" }
}

variable "args" {
  description = "The arguments of the image's program."
  type        = list(string)
  default     = []
}

variable "run_now" {
  description = "Applying a new one of these runs the job to its end."
  type        = string
  default     = null
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

variable "deletion_protection" {
  description = "Whether it refuses to be destroyed."
  type        = bool
}
