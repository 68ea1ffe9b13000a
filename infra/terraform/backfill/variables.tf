# The parameters of ../../backfill.yaml in snake case, with the same defaults, meanings and constraints. See ../../README.md.

variable "name" {
  description = "Prefix of all resource names; corresponds to the CloudFormation stack name."
  type        = string
  default     = "secretrail"
}

variable "package" {
  description = "Path of the package built by infra/package."
  type        = string
  default     = "../../../target/lambda/bootstrap.zip"
}

variable "tags" {
  description = "Tags of all resources that can have tags; correspond to the tags of the CloudFormation stack."
  type        = map(string)
  default     = {}
}

variable "logs_bucket" {
  description = "Name of the bucket with the logs, in this or another account, in this region."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.logs_bucket))
    error_message = "The name of a bucket, without s3:// and without a prefix."
  }
}

variable "logs_prefix" {
  description = "Prefix of the logs, with a trailing slash; empty for the whole bucket."
  type        = string
  default     = ""

  validation {
    condition     = var.logs_prefix == "" || can(regex("^[^\\s*?$\\\\]+/$", var.logs_prefix))
    error_message = "A prefix ends with a slash, and has no spaces and none of the characters * ? $ \\."
  }
}

variable "logs_key_arn" {
  description = "ARN of the KMS key that encrypts the logs, or several separated by commas; empty if they are encrypted with SSE-S3."
  type        = string
  default     = ""

  validation {
    condition     = var.logs_key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+(,arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+){0,5}$", var.logs_key_arn))
    error_message = "One to six ARNs of keys (of the key, not of an alias), separated by commas."
  }
}

variable "job_bucket" {
  description = "Name of the bucket for jobs; must not be the log bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.job_bucket))
    error_message = "The name of a bucket, without s3:// and without a prefix."
  }
}

variable "job_prefix" {
  description = "Prefix below which jobs are planned, with a trailing slash; empty for the whole bucket."
  type        = string
  default     = "secretrail/"

  validation {
    condition     = var.job_prefix == "" || can(regex("^[^\\s*?$\\\\]+/$", var.job_prefix))
    error_message = "A prefix ends with a slash, and has no spaces and none of the characters * ? $ \\."
  }
}

variable "job_key_arn" {
  description = "ARN of the KMS key that encrypts the job bucket; empty if it is encrypted with SSE-S3."
  type        = string
  default     = ""

  validation {
    condition     = var.job_key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.job_key_arn))
    error_message = "The ARN of a key, not of an alias."
  }
}

variable "subnet_ids" {
  description = "Private subnets of the function, separated by commas; they need an endpoint for S3. Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.subnet_ids == "" || can(regex("^subnet-[0-9a-f]+(,subnet-[0-9a-f]+){0,15}$", var.subnet_ids))
    error_message = "Ids of subnets, separated by commas."
  }
}

variable "security_group_ids" {
  description = "Security groups of the function in these subnets, separated by commas; they must allow HTTPS to the endpoint."
  type        = string
  default     = ""

  validation {
    condition     = var.security_group_ids == "" || can(regex("^sg-[0-9a-f]+(,sg-[0-9a-f]+){0,4}$", var.security_group_ids))
    error_message = "Ids of security groups, separated by commas."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of both roles; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.permissions_boundary_arn == "" || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.permissions_boundary_arn))
    error_message = "The ARN of a managed policy."
  }
}

variable "architecture" {
  description = "Must be that of the package (infra/package arm64). arm64 is not tested."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "It must be one of x86_64, arm64."
  }
}

variable "memory_size" {
  description = "Memory of the function in MB; 1769 MB give one full vCPU."
  type        = number
  default     = 1769

  validation {
    condition     = var.memory_size >= 512 && var.memory_size <= 10240
    error_message = "It must be from 512 to 10240."
  }
}

variable "max_concurrency" {
  description = "Maximum number of parallel invocations. They count against the account limit, which the detector shares."
  type        = number
  default     = 100

  validation {
    condition     = var.max_concurrency >= 1 && var.max_concurrency <= 10000
    error_message = "It must be from 1 to 10000."
  }
}

variable "tolerated_failure_percentage" {
  description = "Percentage of batches that may fail, after all retries, before the execution stops. One batch runs alone first, so that the others start only if the function can read and write; accounts that it cannot read should not stop the rest."
  type        = number
  default     = 50

  validation {
    condition     = var.tolerated_failure_percentage >= 0 && var.tolerated_failure_percentage <= 100
    error_message = "It must be from 0 to 100."
  }
}

variable "log_retention_days" {
  description = "Retention of the function's log in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.log_retention_days)
    error_message = "It must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827."
  }
}
