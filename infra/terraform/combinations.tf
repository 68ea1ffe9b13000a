# Whatever would be ignored is refused, before anything is created; as the rules of the template.

resource "terraform_data" "combinations" {
  lifecycle {
    precondition {
      condition     = var.trail_account == "" || var.trigger == "EventBridge"
      error_message = "trail_account is used only with trigger = \"EventBridge\"; with SNS, the policy of the topic admits this account."
    }

    precondition {
      condition     = var.trigger != "SNS" || var.trigger_topic_arn != ""
      error_message = "The trigger SNS requires trigger_topic_arn."
    }

    precondition {
      condition     = var.trigger_topic_arn == "" || var.trigger == "SNS"
      error_message = "trigger_topic_arn is used only with trigger = \"SNS\"."
    }

    precondition {
      condition     = var.trigger != "Queue" || var.trigger_queue_arn != ""
      error_message = "The trigger Queue requires trigger_queue_arn."
    }

    precondition {
      condition     = var.trigger_queue_arn == "" || var.trigger == "Queue"
      error_message = "trigger_queue_arn is used only with trigger = \"Queue\"."
    }

    precondition {
      condition     = var.trigger_queue_key_arn == "" || var.trigger == "Queue"
      error_message = "trigger_queue_key_arn is used only with trigger = \"Queue\"; the queue that is made here uses key_arn."
    }

    precondition {
      condition     = var.alert_min_level == "medium" || var.alert_email != ""
      error_message = "alert_min_level is used only with alert_email; for more_topics use min-level or digest-below."
    }

    precondition {
      condition     = var.emails_per_minute == 5 || var.alert_email != ""
      error_message = "emails_per_minute is used only with alert_email; for more_topics use max-per-minute."
    }

    precondition {
      condition     = !var.alert_fifo || var.alert_email == ""
      error_message = "A FIFO topic cannot send e-mail. Leave alert_email empty, set alarm_email for alarms, and name a standard topic with e-mail subscriptions in more_topics for incidents."
    }

    precondition {
      condition     = var.more_topic_key_arns == "" || var.more_topics != ""
      error_message = "more_topic_key_arns is used only with more_topics; the topics that are made here use key_arn."
    }

    precondition {
      condition     = var.own_subscriptions || var.alert_email != "" || var.more_topics != "" || var.security_hub
      error_message = "Alerts would reach nobody. Set alert_email, more_topics or security_hub, or own_subscriptions = true if you subscribe to alert_topic yourself."
    }

    precondition {
      condition     = var.own_subscriptions || var.alert_email != "" || var.alarm_email != ""
      error_message = "Alarms would reach nobody. Set alarm_email or alert_email, or own_subscriptions = true if you subscribe to alarm_topic yourself."
    }

    precondition {
      condition     = var.rules_bucket == "" || var.rules_prefix != "" || var.policy_key != "" || var.networks_prefix != ""
      error_message = "Nothing is read from rules_bucket. Set rules_prefix, policy_key or networks_prefix. Rules at the root of a bucket are not supported; use a prefix."
    }

    precondition {
      condition     = var.rules_prefix == "" || var.rules_bucket != ""
      error_message = "rules_prefix requires rules_bucket."
    }

    precondition {
      condition     = var.policy_key == "" || var.rules_bucket != ""
      error_message = "policy_key requires rules_bucket."
    }

    precondition {
      condition     = !var.strict || var.policy_key != ""
      error_message = "strict requires policy_key; without an access policy, nothing is expected or unexpected."
    }

    precondition {
      condition     = var.vars_key == "" || var.rules_bucket != ""
      error_message = "vars_key requires rules_bucket."
    }

    precondition {
      condition     = var.vars_key == "" || var.rules_prefix != ""
      error_message = "vars_key requires rules_prefix; no built-in rule takes values."
    }

    precondition {
      condition     = var.networks_prefix == "" || var.rules_bucket != ""
      error_message = "networks_prefix requires rules_bucket."
    }

    precondition {
      condition     = var.rules_key_arn == "" || var.rules_bucket != ""
      error_message = "rules_key_arn requires rules_bucket."
    }

    precondition {
      condition     = var.existing_table_key_arn == "" || var.existing_table != ""
      error_message = "existing_table_key_arn is used only with existing_table; a new table uses key_arn."
    }

    precondition {
      condition     = var.table_deletion_protection != true || var.existing_table == ""
      error_message = "table_deletion_protection is for a new table. For existing_table use aws dynamodb update-table --deletion-protection-enabled."
    }

    precondition {
      condition     = var.subnet_ids == "" || var.security_group_ids != ""
      error_message = "subnet_ids requires security_group_ids."
    }

    precondition {
      condition     = var.security_group_ids == "" || var.subnet_ids != ""
      error_message = "security_group_ids requires subnet_ids."
    }

    # The template cannot compare these.
    precondition {
      condition     = alltrue([for topic in local.more_topics : split(":", topic)[3] == local.region])
      error_message = "The topics of more_topics must be in the region of this deployment: the function publishes in its own region only."
    }

    precondition {
      condition     = var.trigger_queue_arn == "" || try(split(":", var.trigger_queue_arn)[3], "") == local.region
      error_message = "The queue of trigger_queue_arn must be in the region of this deployment: Lambda reads only queues of its own region."
    }
  }
}
