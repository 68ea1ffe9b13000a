# The resources of ../template.yaml for Terraform. A test keeps both in sync.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

locals {
  own_queue  = var.trigger != "Queue"
  has_key    = var.key_arn != ""
  key        = local.has_key ? var.key_arn : null
  has_rules  = var.rules_bucket != "" && var.rules_prefix != ""
  has_policy = var.rules_bucket != "" && var.policy_key != ""
  has_vars   = var.rules_bucket != "" && var.vars_key != ""
  has_lists  = var.rules_bucket != "" && var.networks_prefix != ""
  partition  = data.aws_partition.here.partition
  suffix     = data.aws_partition.here.dns_suffix
  place      = "${data.aws_region.here.name}:${data.aws_caller_identity.here.account_id}"
  has_email  = var.alert_email != "" && !var.alert_fifo
  alerts     = aws_sns_topic.alerts.arn
  mailed     = "incidents&digest-below=${var.alert_min_level}&max-per-minute=${var.emails_per_minute} ${local.alerts}?deliver=alerts"
  delivered  = local.has_email ? local.mailed : "both"
  function   = "${var.name}-detector"
  queue_arn  = local.own_queue ? aws_sqs_queue.files[0].arn : var.trigger_queue_arn
}

resource "aws_dynamodb_table" "table" {
  name                        = "${var.name}-state"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  # Without key_arn, DynamoDB encrypts the table with an AWS owned key, at no cost.
  server_side_encryption {
    enabled     = local.has_key
    kms_key_arn = local.key
  }
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.key
}

resource "aws_sqs_queue_policy" "dead_letters_policy" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      var.trigger != "EventBridge" ? [] : [{
        Sid       = "KeepUndelivered"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.dead_letters.arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.new_files[0].arn } }
      }],
      [{
        Sid       = "OnlyEncrypted"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.dead_letters.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
    )
  })
}

resource "aws_sqs_queue" "files" {
  count                      = local.own_queue ? 1 : 0
  name                       = "${var.name}-files"
  message_retention_seconds  = 345600
  visibility_timeout_seconds = 6 * 60 + var.batch_window_seconds
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.key
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letters.arn, maxReceiveCount = 5 })
}

resource "aws_sqs_queue_policy" "files_policy" {
  count     = local.own_queue ? 1 : 0
  queue_url = aws_sqs_queue.files[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Notify"
        Effect    = "Allow"
        Principal = { Service = var.trigger == "EventBridge" ? "events.amazonaws.com" : "sns.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.files[0].arn
        # The ARN names the account; a topic may be in another one.
        Condition = { ArnEquals = { "aws:SourceArn" = var.trigger == "EventBridge" ? aws_cloudwatch_event_rule.new_files[0].arn : var.trigger_topic_arn } }
      },
      {
        Sid       = "OnlyEncrypted"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.files[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_cloudwatch_event_rule" "new_files" {
  count       = var.trigger == "EventBridge" ? 1 : 0
  name        = "${var.name}-new-files"
  description = "Sends new files of the trail to Secretrail."
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.trail_bucket] }
      object = { key = [{ prefix = "${var.trail_prefix}AWSLogs/" }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "new_files" {
  count = var.trigger == "EventBridge" ? 1 : 0
  rule  = aws_cloudwatch_event_rule.new_files[0].name
  arn   = aws_sqs_queue.files[0].arn

  # EventBridge tries for a day by default.
  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }
}

resource "aws_sns_topic_subscription" "notifications" {
  count     = var.trigger == "SNS" ? 1 : 0
  topic_arn = var.trigger_topic_arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.files[0].arn
}

resource "aws_sns_topic" "alerts" {
  name              = var.alert_fifo ? "${var.name}-alerts.fifo" : "${var.name}-alerts"
  fifo_topic        = var.alert_fifo
  kms_master_key_id = local.has_key ? var.key_arn : "alias/aws/sns"
}

resource "aws_sns_topic_subscription" "alerts_by_email" {
  count         = local.has_email ? 1 : 0
  topic_arn     = local.alerts
  protocol      = "email"
  endpoint      = var.alert_email
  filter_policy = jsonencode({ schema = ["secretrail.incident/1", "secretrail.digest/1"] })
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = local.key
}

resource "aws_sns_topic_subscription" "alarms_by_email" {
  count     = var.alert_email != "" ? 1 : 0
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_cloudwatch_log_group" "log" {
  name              = "/aws/lambda/${local.function}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key
  skip_destroy      = true
}

# Without aws:SourceAccount: AWS does not document that Lambda sends it when it assumes an execution role.
resource "aws_iam_role" "role" {
  name_prefix = "${var.name}-"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "role" {
  name = "detector"
  role = aws_iam_role.role.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadFiles"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = "arn:${local.partition}:s3:::${var.trail_bucket}/${var.trail_prefix}AWSLogs/*/CloudTrail/*"
        },
        {
          Sid      = "ReadQueue"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
          Resource = local.queue_arn
        },
        {
          Sid      = "KeepState"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"]
          Resource = aws_dynamodb_table.table.arn
        },
        {
          Sid      = "Publish"
          Effect   = "Allow"
          Action   = "sns:Publish"
          Resource = aws_sns_topic.alerts.arn
        },
        {
          Sid      = "WriteLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "arn:${local.partition}:logs:${local.place}:log-group:/aws/lambda/${local.function}:*"
        },
      ],
      var.more_topics == "" ? [] : [{
        Sid      = "PublishMore"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = "arn:${local.partition}:sns:${local.place}:secretrail-*"
      }],
      var.trail_key_arn == "" ? [] : [{
        Sid      = "DecryptFiles"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = var.trail_key_arn
        # In whichever region the bucket is: a key works in its own region only.
        Condition = { StringLike = { "kms:ViaService" = "s3.*.${local.suffix}" } }
      }],
      !local.has_key ? [] : [{
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
        Resource = var.key_arn
        # Lambda: the environment of the function. S3: a rules bucket with the same key.
        Condition = { StringEquals = { "kms:ViaService" = [for service in ["dynamodb", "lambda", "s3", "sns", "sqs"] : "${service}.${data.aws_region.here.name}.${local.suffix}"] } }
      }],
      !local.has_rules ? [] : [{
        Sid      = "ReadRules"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${var.rules_bucket}/${var.rules_prefix}*"
      }],
      !local.has_policy ? [] : [{
        Sid      = "ReadPolicy"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${var.rules_bucket}/${var.policy_key}"
      }],
      !local.has_vars ? [] : [{
        Sid      = "ReadVars"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${var.rules_bucket}/${var.vars_key}"
      }],
      !local.has_lists ? [] : [{
        Sid      = "ReadNetworks"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${var.rules_bucket}/${var.networks_prefix}*"
      }],
      !(local.has_rules || local.has_policy || local.has_vars || local.has_lists) ? [] : [{
        Sid       = "ListRules"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = "arn:${local.partition}:s3:::${var.rules_bucket}"
        Condition = { StringLike = { "s3:prefix" = compact([local.has_rules ? "${var.rules_prefix}*" : "", local.has_policy ? var.policy_key : "", local.has_vars ? var.vars_key : "", local.has_lists ? "${var.networks_prefix}*" : ""]) } }
      }],
    )
  })
}

resource "aws_lambda_function" "detector" {
  function_name    = local.function
  description      = "Reads new CloudTrail files and alerts about who read which secret."
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = var.memory_size
  timeout          = 60
  role             = aws_iam_role.role.arn
  kms_key_arn      = local.key

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.log.name
  }

  environment {
    variables = {
      SECRETRAIL_TABLE            = aws_dynamodb_table.table.name
      SECRETRAIL_TOPICS           = trimspace("${local.alerts}?deliver=${local.delivered} ${var.more_topics}")
      SECRETRAIL_RULES            = local.has_rules ? "s3://${var.rules_bucket}/${var.rules_prefix}" : ""
      SECRETRAIL_POLICY           = local.has_policy ? "s3://${var.rules_bucket}/${var.policy_key}" : ""
      SECRETRAIL_STRICT           = tostring(var.strict)
      SECRETRAIL_VARS             = local.has_vars ? "s3://${var.rules_bucket}/${var.vars_key}" : ""
      SECRETRAIL_NETWORKS         = local.has_lists ? "s3://${var.rules_bucket}/${var.networks_prefix}" : ""
      SECRETRAIL_ALLOWED_LATENESS = var.allowed_lateness
      SECRETRAIL_LOOKBACK         = var.lookback
      SECRETRAIL_WARM_UP          = var.warm_up
    }
  }
}

resource "aws_lambda_event_source_mapping" "from_queue" {
  event_source_arn                   = local.queue_arn
  function_name                      = aws_lambda_function.detector.arn
  batch_size                         = 10
  maximum_batching_window_in_seconds = var.batch_window_seconds
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.max_concurrency
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_cloudwatch_event_rule" "every_minute" {
  name                = "${var.name}-every-minute"
  description         = "Finalises pending events that are due and publishes alerts that are still unpublished."
  schedule_expression = "rate(1 minute)"
}

resource "aws_cloudwatch_event_target" "every_minute" {
  rule  = aws_cloudwatch_event_rule.every_minute.name
  arn   = aws_lambda_function.detector.arn
  input = jsonencode({ secretrail = "sweep" })

  # No dead-letter queue: the next sweep does what this one did not, and alarm_sweep reports it.
  retry_policy {
    maximum_event_age_in_seconds = 60
    maximum_retry_attempts       = 0
  }
}

# Lambda retries an asynchronous invocation that failed twice by default, whatever the rule says. The next sweep is the retry.
resource "aws_lambda_function_event_invoke_config" "sweep_retries" {
  function_name                = aws_lambda_function.detector.function_name
  qualifier                    = "$LATEST"
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}

resource "aws_lambda_permission" "may_sweep" {
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.detector.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.every_minute.arn
}
