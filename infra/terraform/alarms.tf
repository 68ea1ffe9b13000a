# ../README.md describes each alarm and what to do.

locals {
  of_function = { FunctionName = local.function }
}

resource "aws_cloudwatch_metric_alarm" "alarm_dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Files that could not be read are in the dead-letter queue."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_new_files" {
  count               = var.trigger == "EventBridge" ? 1 : 0
  alarm_name          = "${var.name}-new-files"
  alarm_description   = "EventBridge could not deliver notifications of new files to the queue."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.new_files[0].name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_sweep" {
  alarm_name          = "${var.name}-sweep"
  alarm_description   = "EventBridge could not start the sweep."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.every_minute.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_errors" {
  alarm_name          = "${var.name}-errors"
  alarm_description   = "The function has errors. See its log."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = local.of_function
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 2
  threshold           = 2
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_throttles" {
  alarm_name          = "${var.name}-throttles"
  alarm_description   = "The function is throttled, so files wait in the queue."
  namespace           = "AWS/Lambda"
  metric_name         = "Throttles"
  dimensions          = local.of_function
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_backlog" {
  count               = local.own_queue ? 1 : 0
  alarm_name          = "${var.name}-backlog"
  alarm_description   = "Files have waited in the queue for more than ten minutes, so alerts are late."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.files[0].name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 600
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_no_data" {
  alarm_name          = "${var.name}-quiet"
  alarm_description   = "No file has arrived for a long time. Check that the trail is logging and that its notifications are enabled."
  namespace           = "Secretrail"
  metric_name         = "MinutesSinceLastObject"
  dimensions          = local.of_function
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = var.quiet_minutes
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_exposure" {
  alarm_name          = "${var.name}-exposure"
  alarm_description   = "A secret version that an incident revealed has not been replaced for hours. Rotate the secret, or close the incident."
  namespace           = "Secretrail"
  metric_name         = "OpenExposureHours"
  dimensions          = local.of_function
  statistic           = "Maximum"
  period              = 1800
  evaluation_periods  = 1
  threshold           = var.exposure_hours
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_rules" {
  alarm_name          = "${var.name}-rules"
  alarm_description   = "The rules or the access policy in S3 are invalid; the last valid ones stay in use."
  namespace           = "Secretrail"
  metric_name         = "RulesRejected"
  dimensions          = local.of_function
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_records" {
  alarm_name          = "${var.name}-records"
  alarm_description   = "Records in files of the trail cannot be read, or not all of them, so reads may be missing. The log names file and reason."
  namespace           = "Secretrail"
  metric_name         = "RecordsSkipped"
  dimensions          = local.of_function
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_publish" {
  alarm_name          = "${var.name}-publish"
  alarm_description   = "A destination does not accept alerts, which wait in the table. The log gives the reason."
  namespace           = "Secretrail"
  metric_name         = "PublishFailures"
  dimensions          = local.of_function
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_outbox" {
  alarm_name          = "${var.name}-outbox"
  alarm_description   = "An alert has waited for two hours to be published to one of its destinations. The log gives the reason."
  namespace           = "Secretrail"
  metric_name         = "OutboxAge"
  dimensions          = local.of_function
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 7200
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_delivery" {
  alarm_name          = "${var.name}-delivery"
  alarm_description   = "SNS could not deliver alerts to a recipient, such as a mail address that was suspended."
  namespace           = "AWS/SNS"
  metric_name         = "NumberOfNotificationsFailed"
  dimensions          = { TopicName = aws_sns_topic.alerts.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_due" {
  alarm_name          = "${var.name}-due"
  alarm_description   = "Pending events have been overdue for 15 minutes, or the sweep does not run, so final alerts are late. See the log of the sweep."
  namespace           = "Secretrail"
  metric_name         = "DueAge"
  dimensions          = local.of_function
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 900
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "alarm_set_aside" {
  alarm_name          = "${var.name}-set-aside"
  alarm_description   = "Stored items cannot be read and are set aside for an hour. The log names them."
  namespace           = "Secretrail"
  metric_name         = "ItemsSetAside"
  dimensions          = local.of_function
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

locals {
  widgets = [
    ["Alerts", "Sum", ["Alerts", "PublishFailures"], "Secretrail", ""],
    ["Files", "", [], "", "filter ispresent(Objects) | stats sum(Objects) as read, sum(ObjectsSkipped) as skipped, sum(ObjectsFailed) as failed, sum(ObjectsDuplicate) as again by bin(5m)"],
    ["Seconds from delivery to reading", "Maximum", ["DeliveryLag"], "Secretrail", ""],
    ["Secret reads", "", [], "", "filter ispresent(Reads) | stats sum(Reads) as reads, sum(Pairs) as paired, sum(LatePairings) as late by bin(5m)"],
    ["Function", "Maximum", ["Duration"], "AWS/Lambda", ""],
    ["Minutes since the last file", "Maximum", ["MinutesSinceLastObject"], "Secretrail", ""],
  ]
}

resource "aws_cloudwatch_dashboard" "dashboard" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for index, widget in local.widgets : {
      type   = widget[4] == "" ? "metric" : "log"
      x      = 12 * (index % 2)
      y      = 6 * floor(index / 2)
      width  = 12
      height = 6
      # Values of one shape, of which each kind of widget has its own.
      properties = { for name, value in {
        title   = widget[0]
        region  = local.region
        stat    = widget[4] == "" ? widget[1] : null
        period  = widget[4] == "" ? 300 : null
        metrics = widget[4] == "" ? [for metric in widget[2] : [widget[3], metric, "FunctionName", local.function]] : null
        view    = widget[4] == "" ? null : "timeSeries"
        query   = widget[4] == "" ? null : "SOURCE '${aws_cloudwatch_log_group.log.name}' | ${widget[4]}"
      } : name => value if value != null }
    }]
  })
}
