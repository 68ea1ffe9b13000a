# The resources of ../template.yaml for Terraform. A test keeps both in sync.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

locals {
  partition = data.aws_partition.here.partition
  suffix    = data.aws_partition.here.dns_suffix
  region    = data.aws_region.here.region
  account   = data.aws_caller_identity.here.account_id
  table     = var.existing_table == "" ? aws_dynamodb_table.table[0].name : var.existing_table
  # Of what is not made, an empty text: nothing refers to it then.
  arns = {
    alerts       = aws_sns_topic.alerts.arn
    dead_letters = aws_sqs_queue.dead_letters.arn
    files        = local.own_queue ? aws_sqs_queue.files[0].arn : ""
    log          = aws_cloudwatch_log_group.log.arn
    rule         = var.trigger == "EventBridge" ? aws_cloudwatch_event_rule.new_files[0].arn : ""
    table        = var.existing_table == "" ? aws_dynamodb_table.table[0].arn : ""
  }
}

resource "aws_dynamodb_table" "table" {
  #checkov:skip=CKV_AWS_119:key_arn sets a customer managed key.
  count                       = var.existing_table == "" ? 1 : 0
  name                        = "${var.name}-state"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = coalesce(var.table_deletion_protection, true)
  tags                        = var.tags

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
  tags                      = var.tags
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.key
}

resource "aws_sqs_queue_policy" "dead_letters_policy" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy    = local.dead_letters_policy
}

resource "aws_sqs_queue" "files" {
  count                      = local.own_queue ? 1 : 0
  name                       = "${var.name}-files"
  message_retention_seconds  = 345600
  tags                       = var.tags
  visibility_timeout_seconds = 6 * 60 + var.batch_window_seconds
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.key
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letters.arn, maxReceiveCount = 5 })
}

resource "aws_sqs_queue_policy" "files_policy" {
  count     = local.own_queue ? 1 : 0
  queue_url = aws_sqs_queue.files[0].id
  policy    = local.files_policy
}

resource "aws_cloudwatch_event_rule" "new_files" {
  count         = var.trigger == "EventBridge" ? 1 : 0
  name          = "${var.name}-new-files"
  description   = "Sends new files of the trail to Secretrail."
  event_pattern = local.event_pattern
  tags          = var.tags
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

# The account of the bucket may send events to the default bus of this account. (The template also confines it to events of S3;
# the provider can do so only with a resource that replaces the whole policy of the bus.)
resource "aws_cloudwatch_event_permission" "trail_events" {
  count        = var.trail_account == "" ? 0 : 1
  principal    = var.trail_account
  statement_id = "${var.name}-trail"
}

resource "aws_sns_topic_subscription" "notifications" {
  count     = var.trigger == "SNS" ? 1 : 0
  region    = local.topic_region
  topic_arn = var.trigger_topic_arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.files[0].arn
}

resource "aws_sns_topic" "alerts" {
  name              = var.alert_fifo ? "${var.name}-alerts.fifo" : "${var.name}-alerts"
  fifo_topic        = var.alert_fifo
  kms_master_key_id = local.has_key ? var.key_arn : "alias/aws/sns"
  tags              = var.tags
}

resource "aws_sns_topic_subscription" "alerts_by_email" {
  count         = local.has_email ? 1 : 0
  topic_arn     = aws_sns_topic.alerts.arn
  protocol      = "email"
  endpoint      = var.alert_email
  filter_policy = jsonencode({ schema = ["secretrail.incident/1", "secretrail.digest/1"] })
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = local.key
  tags              = var.tags
}

resource "aws_sns_topic_subscription" "alarms_by_email" {
  count     = local.alarm_email != "" ? 1 : 0
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = local.alarm_email
}

# It is kept when everything is destroyed; the end of its name keeps it apart from that of the next deployment.
resource "aws_cloudwatch_log_group" "log" {
  #checkov:skip=CKV_AWS_338:log_retention_days sets the retention.
  name_prefix       = "/aws/lambda/${local.function}-"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key
  skip_destroy      = true
  tags              = var.tags
}

# Without aws:SourceAccount: AWS does not document that Lambda sends it when it assumes an execution role.
resource "aws_iam_role" "role" {
  name_prefix          = "${var.name}-"
  permissions_boundary = var.permissions_boundary_arn == "" ? null : var.permissions_boundary_arn
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "role" {
  name   = "detector"
  role   = aws_iam_role.role.id
  policy = local.role_policy
}

resource "aws_lambda_function" "detector" {
  #checkov:skip=CKV_AWS_115:The event source mapping limits concurrency, without reserving part of the account limit.
  #checkov:skip=CKV_AWS_116:Failed messages return to the queue, which has a dead-letter queue; the sweep runs every minute.
  #checkov:skip=CKV_AWS_117:The function calls only AWS APIs; subnet_ids puts it into private subnets.
  #checkov:skip=CKV_AWS_272:The package is built here, reproducibly, and not signed.
  #checkov:skip=CKV_AWS_50:Each invocation logs its result in one line.
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
  tags             = var.tags

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.log.name
  }

  environment {
    variables = local.environment
  }

  dynamic "vpc_config" {
    for_each = local.in_subnets ? [true] : []
    content {
      subnet_ids         = local.subnets
      security_group_ids = local.groups
    }
  }

  # Lambda makes its network interfaces with the role.
  depends_on = [aws_iam_role_policy.role]
}

resource "aws_lambda_event_source_mapping" "from_queue" {
  event_source_arn                   = local.own_queue ? local.arns.files : var.trigger_queue_arn
  function_name                      = aws_lambda_function.detector.arn
  batch_size                         = 10
  maximum_batching_window_in_seconds = var.batch_window_seconds
  function_response_types            = ["ReportBatchItemFailures"]
  tags                               = var.tags

  scaling_config {
    maximum_concurrency = var.max_concurrency
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_cloudwatch_event_rule" "every_minute" {
  name                = "${var.name}-every-minute"
  description         = "Finalises pending events that are due and publishes alerts that are still unpublished."
  schedule_expression = "rate(1 minute)"
  tags                = var.tags
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
