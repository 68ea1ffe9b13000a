# The parameters of ../template.yaml in snake case, with the same defaults, meanings and constraints. See ../README.md.

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

variable "tags" {
  description = "Tags of all resources that can have tags; correspond to the tags of the CloudFormation stack."
  type        = map(string)
  default     = {}
}

variable "trail_bucket" {
  description = "Name of the bucket to which CloudTrail delivers, in this or another account, in this region."
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

variable "more_trail_buckets" {
  description = "Up to five more buckets to which trails deliver, separated by commas; under any prefix. Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.more_trail_buckets == "" || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](,[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]){0,4}$", var.more_trail_buckets))
    error_message = "One to five names of buckets, separated by commas."
  }
}

variable "trail_key_arn" {
  description = "ARN of the KMS key that encrypts the log files, or several separated by commas; empty if they are encrypted with SSE-S3."
  type        = string
  default     = ""

  validation {
    condition     = var.trail_key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+(,arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+){0,5}$", var.trail_key_arn))
    error_message = "One to six ARNs of keys (of the key, not of an alias), separated by commas."
  }
}

variable "digests" {
  description = "Whether the function compares the digest files of CloudTrail with the log files that it has processed. Files that are left are fetched, or reported."
  type        = bool
  default     = false
}

variable "trigger" {
  description = "EventBridge requires EventBridge notifications to be enabled for the bucket. SNS subscribes to a topic to which S3 or the trail publishes. Queue reads your own queue."
  type        = string
  default     = "EventBridge"

  validation {
    condition     = contains(["EventBridge", "SNS", "Queue"], var.trigger)
    error_message = "It must be one of EventBridge, SNS, Queue."
  }
}

variable "trail_account" {
  description = "For the trigger EventBridge, the account of the bucket if it is another one: it may send events of S3 to the default event bus here (see forward.yaml). Empty for this account."
  type        = string
  default     = ""

  validation {
    condition     = var.trail_account == "" || can(regex("^[0-9]{12}$", var.trail_account))
    error_message = "The twelve digits of an account."
  }
}

variable "trigger_topic_arn" {
  description = "ARN of the SNS topic, in any region and account; required for the trigger SNS."
  type        = string
  default     = ""

  validation {
    condition     = var.trigger_topic_arn == "" || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", var.trigger_topic_arn))
    error_message = "The ARN of a standard topic, in any region and account."
  }
}

variable "trigger_queue_arn" {
  description = "ARN of the SQS queue, in this region; required for the trigger Queue."
  type        = string
  default     = ""

  validation {
    condition     = var.trigger_queue_arn == "" || can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}(\\.fifo)?$", var.trigger_queue_arn))
    error_message = "The ARN of a queue; Lambda reads only queues of its own region."
  }
}

variable "trigger_queue_key_arn" {
  description = "ARN of the customer managed KMS key of that queue; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.trigger_queue_key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.trigger_queue_key_arn))
    error_message = "The ARN of a key, not of an alias."
  }
}

variable "alert_email" {
  description = "E-mail address for incidents, and for alarms if alarm_email is empty; empty for none. The recipient must confirm each subscription."
  type        = string
  default     = ""
}

variable "alert_min_level" {
  description = "Incidents of this level or higher are mailed at once if alert_email is set; the others are in one digest a day."
  type        = string
  default     = "medium"

  validation {
    condition     = contains(["informational", "low", "medium", "high", "critical"], var.alert_min_level)
    error_message = "It must be one of informational, low, medium, high, critical."
  }
}

variable "emails_per_minute" {
  description = "Most mails a minute if alert_email is set; further incidents are in one digest message. SNS suspends an address that gets more than ten messages a second."
  type        = number
  default     = 5

  validation {
    condition     = var.emails_per_minute >= 1 && var.emails_per_minute <= 60
    error_message = "It must be from 1 to 60."
  }
}

variable "alarm_email" {
  description = "E-mail address for alarms about Secretrail itself; empty for alert_email."
  type        = string
  default     = ""
}

variable "alert_fifo" {
  description = "Whether the alert topic is a FIFO topic, which removes duplicates but cannot send e-mail."
  type        = bool
  default     = false
}

variable "more_topics" {
  description = "Up to ten additional topic ARNs in this region, of this or another account, separated by spaces, each with optional format, kind and minimum level, such as arn:aws:sns:REGION:ACCOUNT:chat?format=chat&min-level=high."
  type        = string
  default     = ""

  validation {
    condition     = var.more_topics == "" || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\\.fifo)?(\\?[a-z0-9=&-]+)?( arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\\.fifo)?(\\?[a-z0-9=&-]+)?){0,9}$", var.more_topics))
    error_message = "One to ten ARNs of topics, separated by single spaces, each with optional ?format=...&min-level=..."
  }
}

variable "more_topic_key_arns" {
  description = "ARNs of the customer managed KMS keys of those topics, separated by commas; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.more_topic_key_arns == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+(,arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+){0,5}$", var.more_topic_key_arns))
    error_message = "One to six ARNs of keys (of the key, not of an alias), separated by commas."
  }
}

variable "security_hub" {
  description = "Whether incidents are imported into AWS Security Hub, too, as findings of this account and region. It must be enabled here."
  type        = bool
  default     = false
}

variable "own_subscriptions" {
  description = "Set it to true if you subscribe recipients to the topics of this stack yourself. Otherwise, alerts and alarms must have a recipient here."
  type        = bool
  default     = false
}

variable "rules_bucket" {
  description = "Bucket with your own rules and access policy, in this region; empty for the built-in rules and no policy."
  type        = string
  default     = ""

  validation {
    condition     = var.rules_bucket == "" || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.rules_bucket))
    error_message = "The name of a bucket, without s3:// and without a prefix."
  }
}

variable "rules_prefix" {
  description = "Prefix of your own rules in that bucket, with a trailing slash; empty for the built-in rules."
  type        = string
  default     = ""

  validation {
    condition     = var.rules_prefix == "" || can(regex("^[^\\s*?$\\\\]+/$", var.rules_prefix))
    error_message = "A prefix ends with a slash, and has no spaces and none of the characters * ? $ \\."
  }
}

variable "policy_key" {
  description = "Key of the access policy in that bucket; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.policy_key == "" || can(regex("^[^\\s*?$\\\\]*[^\\s*?$\\\\/]$", var.policy_key))
    error_message = "A key has no spaces and none of the characters * ? $ \\, and does not end with a slash."
  }
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

  validation {
    condition     = var.vars_key == "" || can(regex("^[^\\s*?$\\\\]*[^\\s*?$\\\\/]$", var.vars_key))
    error_message = "A key has no spaces and none of the characters * ? $ \\, and does not end with a slash."
  }
}

variable "networks_prefix" {
  description = "Prefix of lists of networks in that bucket, with a trailing slash; the name of a file is the label of its list (anonymizer.txt). Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.networks_prefix == "" || can(regex("^[^\\s*?$\\\\]+/$", var.networks_prefix))
    error_message = "A prefix ends with a slash, and has no spaces and none of the characters * ? $ \\."
  }
}

variable "rules_key_arn" {
  description = "ARN of the KMS key that encrypts the files in that bucket; empty if they are encrypted with SSE-S3 or with key_arn."
  type        = string
  default     = ""

  validation {
    condition     = var.rules_key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.rules_key_arn))
    error_message = "The ARN of a key, not of an alias."
  }
}

variable "existing_table" {
  description = "Name of the state table that an earlier deployment left, to go on with its state; empty for a new table. Set it when you create the stack, not later."
  type        = string
  default     = ""

  validation {
    condition     = var.existing_table == "" || can(regex("^[A-Za-z0-9_.-]{3,255}$", var.existing_table))
    error_message = "The name of a table in this account and region."
  }
}

variable "existing_table_key_arn" {
  description = "ARN of the customer managed KMS key of that table; empty for none or for key_arn."
  type        = string
  default     = ""

  validation {
    condition     = var.existing_table_key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.existing_table_key_arn))
    error_message = "The ARN of a key, not of an alias."
  }
}

variable "table_deletion_protection" {
  description = "Whether the new table has deletion protection. Unlike in the template, the default (null) protects a new table: Terraform does not remove what a failed apply made, and would delete the table with everything else."
  type        = bool
  default     = null
}

variable "subnet_ids" {
  description = "Private subnets of the function, separated by commas; they need endpoints for S3, DynamoDB and SNS. Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.subnet_ids == "" || can(regex("^subnet-[0-9a-f]+(,subnet-[0-9a-f]+){0,15}$", var.subnet_ids))
    error_message = "Ids of subnets, separated by commas."
  }
}

variable "security_group_ids" {
  description = "Security groups of the function in these subnets, separated by commas; they must allow HTTPS to the endpoints."
  type        = string
  default     = ""

  validation {
    condition     = var.security_group_ids == "" || can(regex("^sg-[0-9a-f]+(,sg-[0-9a-f]+){0,4}$", var.security_group_ids))
    error_message = "Ids of security groups, separated by commas."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of the function's role; empty for none."
  type        = string
  default     = ""

  validation {
    condition     = var.permissions_boundary_arn == "" || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.permissions_boundary_arn))
    error_message = "The ARN of a managed policy."
  }
}

variable "key_arn" {
  description = "ARN of a customer managed KMS key for queue, table, topics and log; empty for AWS managed keys."
  type        = string
  default     = ""

  validation {
    condition     = var.key_arn == "" || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.key_arn))
    error_message = "The ARN of a key, not of an alias."
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
  description = "Memory of the function in MB; CPU scales with it."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_size >= 256 && var.memory_size <= 10240
    error_message = "It must be from 256 to 10240."
  }
}

variable "max_concurrency" {
  description = "Maximum number of parallel invocations that read the queue."
  type        = number
  default     = 10

  validation {
    condition     = var.max_concurrency >= 2 && var.max_concurrency <= 1000
    error_message = "It must be from 2 to 1000."
  }
}

variable "batch_window_seconds" {
  description = "Seconds to collect files for one invocation. Longer costs less but delays alerts."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300], var.batch_window_seconds)
    error_message = "It must be one of 0, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300."
  }
}

variable "allowed_lateness" {
  description = "How long after delivery the Decrypt of a read, or the read of a Decrypt, may still arrive; for example 15m."
  type        = string
  default     = "15m"

  validation {
    condition     = can(regex("^[1-9][0-9]*[smhd]$", var.allowed_lateness))
    error_message = "A number with s, m, h or d, such as 15m."
  }
}

variable "lookback" {
  description = "How far back seen.* considers reads; for example 90d."
  type        = string
  default     = "90d"

  validation {
    condition     = can(regex("^[1-9][0-9]*[smhd]$", var.lookback))
    error_message = "A number with s, m, h or d, such as 90d."
  }
}

variable "warm_up" {
  description = "How far logs must reach back before anything counts as new; for example 7d."
  type        = string
  default     = "7d"

  validation {
    condition     = can(regex("^[1-9][0-9]*[smhd]$", var.warm_up))
    error_message = "A number with s, m, h or d, such as 7d."
  }
}

variable "log_retention_days" {
  description = "Retention of the function's log in days."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.log_retention_days)
    error_message = "It must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827."
  }
}

variable "quiet_minutes" {
  description = "Minutes without a new log file before an alarm."
  type        = number
  default     = 60

  validation {
    condition     = var.quiet_minutes >= 15 && var.quiet_minutes <= 1440
    error_message = "It must be from 15 to 1440."
  }
}

variable "exposure_hours" {
  description = "Hours that a secret version revealed by an incident may stay current before an alarm."
  type        = number
  default     = 24

  validation {
    condition     = var.exposure_hours >= 1 && var.exposure_hours <= 1000
    error_message = "It must be from 1 to 1000."
  }
}
