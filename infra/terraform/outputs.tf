output "alert_topic" {
  description = "Topic for alerts; subscribe recipients here."
  value       = aws_sns_topic.alerts.arn
}

output "alarm_topic" {
  description = "Topic for alarms about Secretrail itself."
  value       = aws_sns_topic.alarms.arn
}

output "dead_letter_queue" {
  description = "URL of the dead-letter queue, with notifications of files that could not be read."
  value       = aws_sqs_queue.dead_letters.url
}

output "file_queue" {
  description = "URL of the queue with notifications of new files; null with your own queue."
  value       = local.own_queue ? aws_sqs_queue.files[0].url : null
}

output "state_table" {
  description = "Name of the state table; existing_table takes it."
  value       = local.table
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.detector.function_name
}

output "log_group" {
  description = "Name of the function's log group, which is kept when everything is destroyed."
  value       = aws_cloudwatch_log_group.log.name
}

output "role_arn" {
  description = "ARN of the function's role, for policies of buckets, keys and topics in other accounts."
  value       = aws_iam_role.role.arn
}

output "deployment" {
  description = "What the commands of secretrail need to know: terraform output -json > deployment.json"
  value = {
    name        = var.name
    region      = local.region
    account     = local.account
    partition   = local.partition
    version     = "0.1.0"
    alert_topic = aws_sns_topic.alerts.arn
    # With the names of ../template.yaml.
    parameters = {
      Architecture    = var.architecture
      KeyArn          = var.key_arn
      QuietMinutes    = tostring(var.quiet_minutes)
      TrailBucket     = var.trail_bucket
      TrailKeyArn     = var.trail_key_arn
      TrailPrefix     = var.trail_prefix
      Trigger         = var.trigger
      TriggerQueueArn = var.trigger_queue_arn
      TriggerTopicArn = var.trigger_topic_arn
    }
    # null for what is not made.
    resources = {
      Alarms        = aws_sns_topic.alarms.arn
      DeadLetters   = aws_sqs_queue.dead_letters.url
      Detector      = aws_lambda_function.detector.function_name
      EveryMinute   = aws_cloudwatch_event_rule.every_minute.name
      Files         = one(aws_sqs_queue.files[*].url)
      FromQueue     = aws_lambda_event_source_mapping.from_queue.uuid
      NewFiles      = one(aws_cloudwatch_event_rule.new_files[*].name)
      Notifications = one(aws_sns_topic_subscription.notifications[*].arn)
      Role          = aws_iam_role.role.name
      Table         = local.table
    }
    alarms = {
      AlarmBacklog     = one(aws_cloudwatch_metric_alarm.alarm_backlog[*].alarm_name)
      AlarmDeadLetters = aws_cloudwatch_metric_alarm.alarm_dead_letters.alarm_name
      AlarmDelivery    = aws_cloudwatch_metric_alarm.alarm_delivery.alarm_name
      AlarmDue         = aws_cloudwatch_metric_alarm.alarm_due.alarm_name
      AlarmErrors      = aws_cloudwatch_metric_alarm.alarm_errors.alarm_name
      AlarmExposure    = aws_cloudwatch_metric_alarm.alarm_exposure.alarm_name
      AlarmNewFiles    = one(aws_cloudwatch_metric_alarm.alarm_new_files[*].alarm_name)
      AlarmNoData      = aws_cloudwatch_metric_alarm.alarm_no_data.alarm_name
      AlarmOutbox      = aws_cloudwatch_metric_alarm.alarm_outbox.alarm_name
      AlarmPublish     = aws_cloudwatch_metric_alarm.alarm_publish.alarm_name
      AlarmRecords     = aws_cloudwatch_metric_alarm.alarm_records.alarm_name
      AlarmRules       = aws_cloudwatch_metric_alarm.alarm_rules.alarm_name
      AlarmSetAside    = aws_cloudwatch_metric_alarm.alarm_set_aside.alarm_name
      AlarmSweep       = aws_cloudwatch_metric_alarm.alarm_sweep.alarm_name
      AlarmThrottles   = aws_cloudwatch_metric_alarm.alarm_throttles.alarm_name
    }
  }
}

output "version" {
  description = "Version of this configuration."
  value       = "0.1.0"
}
