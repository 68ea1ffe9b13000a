# The parameters of ../template.yaml, in snake case, with the same defaults and meanings. See ../README.md.

variable "name" {
  description = "Prefix of every name, as the name of the stack is for CloudFormation."
  type        = string
  default     = "secretrail"
}

variable "package" {
  description = "Path of the package that infra/package builds."
  type        = string
  default     = "../../target/lambda/bootstrap.zip"
}

variable "trail_bucket" {
  description = "Name of the bucket that CloudTrail delivers to, in this account or another."
  type        = string
}

variable "trail_prefix" {
  description = "Prefix before AWSLogs/, with its slash at the end; empty for none."
  type        = string
  default     = ""
  validation {
    condition     = var.trail_prefix == "" || endswith(var.trail_prefix, "/")
    error_message = "The prefix ends in a slash."
  }
}

variable "trail_key_arn" {
  description = "ARN of the KMS key that encrypts the files; empty when they are encrypted by S3 itself."
  type        = string
  default     = ""
}

variable "trigger" {
  description = "EventBridge, SNS or Queue."
  type        = string
  default     = "EventBridge"
  validation {
    condition     = contains(["EventBridge", "SNS", "Queue"], var.trigger)
    error_message = "The trigger is EventBridge, SNS or Queue."
  }
}

variable "trigger_topic_arn" {
  description = "With the trigger SNS, the ARN of that topic."
  type        = string
  default     = ""
}

variable "trigger_queue_arn" {
  description = "With the trigger Queue, the ARN of that queue."
  type        = string
  default     = ""
}

variable "alert_email" {
  description = "An address that gets every alert; empty for none. It has to confirm the subscription."
  type        = string
  default     = ""
}

variable "alert_fifo" {
  description = "Whether the topic is a FIFO topic, which drops repeats by itself but cannot send e-mail."
  type        = bool
  default     = false
}

variable "more_topics" {
  description = "More topics, separated by spaces, each with what goes there. Their names begin with secretrail-."
  type        = string
  default     = ""
}

variable "rules_bucket" {
  description = "Bucket of your own rules and of the access policy; empty for the built-in rules and no policy."
  type        = string
  default     = ""
}

variable "rules_prefix" {
  description = "Prefix of your own rules in that bucket, with its slash at the end; empty for the built-in rules."
  type        = string
  default     = ""
}

variable "policy_key" {
  description = "Key of the access policy in that bucket; empty for none."
  type        = string
  default     = ""
}

variable "strict" {
  description = "Whether secrets that the access policy does not speak of count as unexpected."
  type        = bool
  default     = false
}

variable "vars_key" {
  description = "Key of a file in that bucket with values for rules with |expand; empty for none."
  type        = string
  default     = ""
}

variable "key_arn" {
  description = "ARN of a KMS key for queue, table, topic and log; empty for keys of AWS."
  type        = string
  default     = ""
}

variable "architecture" {
  description = "x86_64 or arm64; arm64 is not tested."
  type        = string
  default     = "x86_64"
}

variable "memory_size" {
  description = "Memory of the function in MB; processor time comes with it."
  type        = number
  default     = 512
}

variable "max_concurrency" {
  description = "Invocations that read the queue at the same time."
  type        = number
  default     = 10
}

variable "batch_window_seconds" {
  description = "How long files are gathered for one invocation. Longer is cheaper, and later."
  type        = number
  default     = 1
}

variable "allowed_lateness" {
  description = "How long the other half of a read may still arrive before a verdict about its absence."
  type        = string
  default     = "15m"
}

variable "lookback" {
  description = "How long it is remembered who read what."
  type        = string
  default     = "90d"
}

variable "warm_up" {
  description = "How long logs must go back before anything is called new."
  type        = string
  default     = "7d"
}

variable "log_retention_days" {
  description = "Days for which the function's log is kept."
  type        = number
  default     = 90
}

variable "quiet_minutes" {
  description = "Minutes without a file after which an alarm is raised."
  type        = number
  default     = 60
}
