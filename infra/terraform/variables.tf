# The parameters of ../template.yaml in snake case, with the same defaults and meanings. See ../README.md.

variable "name" {
  description = "Prefix of all resource names; corresponds to the CloudFormation stack name."
  type        = string
  default     = "secretrail"
}

variable "package" {
  description = "Path of the package built by infra/package."
  type        = string
  default     = "../../target/lambda/bootstrap.zip"
}

variable "trail_bucket" {
  description = "Name of the bucket to which CloudTrail delivers, in this or another account."
  type        = string
}

variable "trail_prefix" {
  description = "Prefix before AWSLogs/, with a trailing slash; empty for none."
  type        = string
  default     = ""
  validation {
    condition     = var.trail_prefix == "" || endswith(var.trail_prefix, "/")
    error_message = "The prefix must end with a slash."
  }
}

variable "trail_key_arn" {
  description = "ARN of the KMS key that encrypts the log files; empty if they are encrypted with SSE-S3."
  type        = string
  default     = ""
}

variable "trigger" {
  description = "How the function is notified of new files: EventBridge, SNS or Queue."
  type        = string
  default     = "EventBridge"
  validation {
    condition     = contains(["EventBridge", "SNS", "Queue"], var.trigger)
    error_message = "The trigger must be EventBridge, SNS or Queue."
  }
}

variable "trigger_topic_arn" {
  description = "ARN of the SNS topic; required for the trigger SNS."
  type        = string
  default     = ""
}

variable "trigger_queue_arn" {
  description = "ARN of the SQS queue; required for the trigger Queue."
  type        = string
  default     = ""
}

variable "alert_email" {
  description = "E-mail address for alerts and alarms; empty for none. The recipient must confirm the subscription."
  type        = string
  default     = ""
}

variable "alert_min_level" {
  description = "Incidents of this level or higher are mailed at once if alert_email is set; the others are in one digest a day."
  type        = string
  default     = "medium"
  validation {
    condition     = contains(["informational", "low", "medium", "high", "critical"], var.alert_min_level)
    error_message = "Use informational, low, medium, high or critical."
  }
}

variable "emails_per_minute" {
  description = "Most mails a minute if alert_email is set; further incidents are in one digest message."
  type        = number
  default     = 5
  validation {
    condition     = var.emails_per_minute >= 1 && var.emails_per_minute <= 60
    error_message = "The number must be from 1 to 60."
  }
}

variable "alert_fifo" {
  description = "Whether the alert topic is a FIFO topic, which removes duplicates but cannot send e-mail."
  type        = bool
  default     = false
}

variable "more_topics" {
  description = "Additional topic ARNs, separated by spaces, each with optional format and min-level. Topic names must begin with secretrail-."
  type        = string
  default     = ""
}

variable "rules_bucket" {
  description = "Bucket with your own rules and access policy; empty for the built-in rules and no policy."
  type        = string
  default     = ""
}

variable "rules_prefix" {
  description = "Prefix of your own rules in that bucket, with a trailing slash; empty for the built-in rules."
  type        = string
  default     = ""
}

variable "policy_key" {
  description = "Key of the access policy in that bucket; empty for none."
  type        = string
  default     = ""
}

variable "strict" {
  description = "Whether secrets that no grant of the access policy covers count as unexpected."
  type        = bool
  default     = false
}

variable "vars_key" {
  description = "Key of a file in that bucket with values for rules with |expand; empty for none."
  type        = string
  default     = ""
}

variable "networks_prefix" {
  description = "Prefix of lists of networks in that bucket, with a trailing slash; the name of a file is the label of its list (anonymizer.txt). Empty for none."
  type        = string
  default     = ""
}

variable "key_arn" {
  description = "ARN of a customer managed KMS key for queue, table, topics and log; empty for AWS managed keys."
  type        = string
  default     = ""
}

variable "architecture" {
  description = "x86_64 or arm64; arm64 is not tested."
  type        = string
  default     = "x86_64"
}

variable "memory_size" {
  description = "Memory of the function in MB; CPU scales with it."
  type        = number
  default     = 512
}

variable "max_concurrency" {
  description = "Maximum number of parallel invocations that read the queue."
  type        = number
  default     = 10
}

variable "batch_window_seconds" {
  description = "Seconds to collect files for one invocation. Longer costs less but delays alerts."
  type        = number
  default     = 1
  validation {
    condition     = contains([0, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300], var.batch_window_seconds)
    error_message = "The window must be one of those that the template allows."
  }
}

variable "allowed_lateness" {
  description = "How long after delivery the Decrypt of a read, or the read of a Decrypt, may still arrive; for example 15m."
  type        = string
  default     = "15m"
}

variable "lookback" {
  description = "How far back seen.* considers reads; for example 90d."
  type        = string
  default     = "90d"
}

variable "warm_up" {
  description = "How far logs must reach back before anything counts as new; for example 7d."
  type        = string
  default     = "7d"
}

variable "log_retention_days" {
  description = "Retention of the function's log in days."
  type        = number
  default     = 90
}

variable "quiet_minutes" {
  description = "Minutes without a new log file before an alarm."
  type        = number
  default     = 60
}
