# What each alarm means, and what to do, is in ../README.md.

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
}

resource "aws_cloudwatch_metric_alarm" "alarm_errors" {
  alarm_name          = "${var.name}-errors"
  alarm_description   = "The function fails."
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
}

resource "aws_cloudwatch_metric_alarm" "alarm_throttles" {
  alarm_name          = "${var.name}-throttles"
  alarm_description   = "The function is throttled, and files wait."
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
}

resource "aws_cloudwatch_metric_alarm" "alarm_backlog" {
  count               = local.own_queue ? 1 : 0
  alarm_name          = "${var.name}-backlog"
  alarm_description   = "Files wait for more than ten minutes, and alerts are late."
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
}

resource "aws_cloudwatch_metric_alarm" "alarm_quiet" {
  alarm_name          = "${var.name}-quiet"
  alarm_description   = "No file came for a long time. Is the trail still logging, and are its notifications still on?"
  namespace           = "Secretrail"
  metric_name         = "MinutesSinceLastObject"
  dimensions          = local.of_function
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = var.quiet_minutes
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "alarm_rules" {
  alarm_name          = "${var.name}-rules"
  alarm_description   = "The rules or the access policy in S3 cannot be used; the last good ones are in force."
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
}

resource "aws_cloudwatch_metric_alarm" "alarm_publish" {
  alarm_name          = "${var.name}-publish"
  alarm_description   = "Alerts cannot be published, and wait in the table. The log says why."
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
}

locals {
  widgets = [
    ["Alerts", "Sum", ["Alerts", "AlertsPublished", "PublishFailures"]],
    ["Files", "Sum", ["Objects", "ObjectsSkipped", "ObjectsFailed", "ObjectsDuplicate"]],
    ["Seconds from delivery to reading", "Maximum", ["DeliveryLag"]],
    ["Secret reads", "Sum", ["Reads", "Pairs", "LatePairings"]],
    ["Function", "Maximum", ["Duration", "DynamoDBRequests"]],
    ["Minutes since the last file", "Maximum", ["MinutesSinceLastObject"]],
  ]
}

resource "aws_cloudwatch_dashboard" "dashboard" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for index, widget in local.widgets : {
      type   = "metric"
      x      = 12 * (index % 2)
      y      = 6 * floor(index / 2)
      width  = 12
      height = 6
      properties = {
        title   = widget[0]
        region  = data.aws_region.here.name
        stat    = widget[1]
        period  = 300
        metrics = [for metric in widget[2] : ["Secretrail", metric, "FunctionName", local.function]]
      }
    }]
  })
}
