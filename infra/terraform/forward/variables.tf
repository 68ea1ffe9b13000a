# The parameters of ../../forward.yaml in snake case, with the same defaults, meanings and constraints. See ../../README.md.

variable "name" {
  description = "Prefix of all resource names; corresponds to the CloudFormation stack name."
  type        = string
  default     = "secretrail"
}

variable "tags" {
  description = "Tags of all resources that can have tags; correspond to the tags of the CloudFormation stack."
  type        = map(string)
  default     = {}
}

variable "trail_bucket" {
  description = "Name of the bucket. Amazon EventBridge must be enabled in its properties."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.trail_bucket))
    error_message = "The name of a bucket, without s3:// and without a prefix."
  }
}

variable "trail_prefix" {
  description = "Prefix before AWSLogs/, with a trailing slash; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.trail_prefix == "" || can(regex("^[^\\s*?$\\\\]+/$", var.trail_prefix))
    error_message = "A prefix ends with a slash, and has no spaces and none of the characters * ? $ \\."
  }
}

variable "digests" {
  description = "Whether digest files of CloudTrail are sent too, as in template.yaml."
  type        = bool
  default     = false
}

variable "bus_arn" {
  description = "ARN of the default event bus of the account in which template.yaml is deployed."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/[A-Za-z0-9._/-]+$", var.bus_arn))
    error_message = "The ARN of an event bus, such as arn:aws:events:REGION:ACCOUNT:event-bus/default."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of the role; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.permissions_boundary_arn == "" || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.permissions_boundary_arn))
    error_message = "The ARN of a managed policy."
  }
}
