# What is allowed, sent and set, from the variables and from what main.tf knows of the account and its resources. A test evaluates
# this file and variables.tf alone and compares them with ../template.yaml.

locals {
  own_queue  = var.trigger != "Queue"
  has_key    = var.key_arn != ""
  key        = local.has_key ? var.key_arn : null
  has_rules  = var.rules_bucket != "" && var.rules_prefix != ""
  has_policy = var.rules_bucket != "" && var.policy_key != ""
  has_vars   = var.rules_bucket != "" && var.vars_key != ""
  has_lists  = var.rules_bucket != "" && var.networks_prefix != ""
  has_email  = var.alert_email != ""
  in_subnets = var.subnet_ids != ""
  function   = "${var.name}-detector"

  more_buckets = var.more_trail_buckets == "" ? [] : split(",", var.more_trail_buckets)
  trail_keys   = var.trail_key_arn == "" ? [] : split(",", var.trail_key_arn)
  topic_keys   = var.more_topic_key_arns == "" ? [] : split(",", var.more_topic_key_arns)
  subnets      = local.in_subnets ? split(",", var.subnet_ids) : []
  groups       = local.in_subnets ? split(",", var.security_group_ids) : []
  # Without their options.
  more_topics  = var.more_topics == "" ? [] : [for topic in split(" ", var.more_topics) : split("?", topic)[0]]
  product      = "arn:${local.partition}:securityhub:${local.region}:${local.account}:product/${local.account}/default"
  topic_region = var.trigger == "SNS" ? try(split(":", var.trigger_topic_arn)[3], null) : null
  alarm_email  = var.alarm_email != "" ? var.alarm_email : var.alert_email

  kinds   = var.digests ? ["CloudTrail", "CloudTrail-Digest"] : ["CloudTrail"]
  files   = [for kind in local.kinds : "${var.trail_prefix}AWSLogs/*/${kind}/*"]
  in_more = [for kind in local.kinds : "*AWSLogs/*/${kind}/*"]
  s3      = "arn:${local.partition}:s3:::"

  # Not files of other services, which are under AWSLogs/ too. The asterisk also stands for slashes.
  of_trail = {
    bucket = { name = [var.trail_bucket] }
    object = { key = [for pattern in local.files : { wildcard = pattern }] }
  }
  of_more = {
    bucket = { name = local.more_buckets }
    object = { key = [for pattern in local.in_more : { wildcard = pattern }] }
  }
  created       = { source = ["aws.s3"], detail-type = ["Object Created"] }
  event_pattern = length(local.more_buckets) == 0 ? jsonencode(merge(local.created, { detail = local.of_trail })) : jsonencode(merge(local.created, { detail = { "$or" = [local.of_trail, local.of_more] } }))

  # People read incidents, machines read alerts: each subscription takes its own by the attribute schema.
  mailed    = "incidents&digest-below=${var.alert_min_level}&max-per-minute=${var.emails_per_minute} ${local.arns.alerts}?deliver=alerts"
  delivered = local.has_email ? local.mailed : "both"
  environment = {
    SECRETRAIL_TABLE            = local.table
    SECRETRAIL_TOPICS           = trimspace("${local.arns.alerts}?deliver=${local.delivered} ${join(" ", compact([var.more_topics, var.security_hub ? local.product : ""]))}")
    SECRETRAIL_RULES            = local.has_rules ? "s3://${var.rules_bucket}/${var.rules_prefix}" : ""
    SECRETRAIL_POLICY           = local.has_policy ? "s3://${var.rules_bucket}/${var.policy_key}" : ""
    SECRETRAIL_STRICT           = tostring(var.strict)
    SECRETRAIL_DIGESTS          = tostring(var.digests)
    SECRETRAIL_VARS             = local.has_vars ? "s3://${var.rules_bucket}/${var.vars_key}" : ""
    SECRETRAIL_NETWORKS         = local.has_lists ? "s3://${var.rules_bucket}/${var.networks_prefix}" : ""
    SECRETRAIL_ALLOWED_LATENESS = var.allowed_lateness
    SECRETRAIL_LOOKBACK         = var.lookback
    SECRETRAIL_WARM_UP          = var.warm_up
  }

  encrypted_only = {
    Sid       = "OnlyEncrypted"
    Effect    = "Deny"
    Principal = "*"
    Action    = "sqs:*"
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }
  dead_letters_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      var.trigger != "EventBridge" ? [] : [{
        Sid       = "KeepUndelivered"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = local.arns.dead_letters
        Condition = { ArnEquals = { "aws:SourceArn" = local.arns.rule } }
      }],
      [merge(local.encrypted_only, { Resource = local.arns.dead_letters })],
    )
  })
  files_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Notify"
        Effect    = "Allow"
        Principal = { Service = var.trigger == "EventBridge" ? "events.amazonaws.com" : "sns.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = local.arns.files
        # The ARN names the account; a topic may be in another one.
        Condition = { ArnEquals = { "aws:SourceArn" = var.trigger == "EventBridge" ? local.arns.rule : var.trigger_topic_arn } }
      },
      merge(local.encrypted_only, { Resource = local.arns.files }),
    ]
  })

  via_s3         = { StringLike = { "kms:ViaService" = "s3.*.${local.suffix}" } }
  use_of_key     = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
  via            = { for service in ["dynamodb", "lambda", "s3", "sns", "sqs"] : service => "${service}.${local.region}.${local.suffix}" }
  on_interfaces  = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"]
  rules_prefixes = compact([local.has_rules ? "${var.rules_prefix}*" : "", local.has_policy ? var.policy_key : "", local.has_vars ? var.vars_key : "", local.has_lists ? "${var.networks_prefix}*" : ""])

  role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "ReadFiles"
          Effect = "Allow"
          # In a bucket with versions, the version that the notification names is read.
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = [for pattern in local.files : "${local.s3}${var.trail_bucket}/${pattern}"]
        },
        # Without it, S3 calls a missing file denied.
        {
          Sid       = "ListFiles"
          Effect    = "Allow"
          Action    = "s3:ListBucket"
          Resource  = "${local.s3}${var.trail_bucket}"
          Condition = { StringLike = { "s3:prefix" = "${var.trail_prefix}AWSLogs/*" } }
        },
      ],
      length(local.more_buckets) == 0 ? [] : [{
        Sid      = "ReadMoreFiles"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = [for bucket in local.more_buckets : "${local.s3}${bucket}/*AWSLogs/*/CloudTrail/*"]
      }],
      length(local.more_buckets) == 0 || !var.digests ? [] : [{
        Sid      = "ReadMoreDigests"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = [for bucket in local.more_buckets : "${local.s3}${bucket}/*AWSLogs/*/CloudTrail-Digest/*"]
      }],
      length(local.more_buckets) == 0 ? [] : [{
        Sid       = "ListMoreFiles"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = [for bucket in local.more_buckets : "${local.s3}${bucket}"]
        Condition = { StringLike = { "s3:prefix" = "*AWSLogs/*" } }
      }],
      [
        {
          Sid      = "ReadQueue"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
          Resource = local.own_queue ? local.arns.files : var.trigger_queue_arn
        },
        {
          Sid      = "KeepState"
          Effect   = "Allow"
          Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"]
          Resource = var.existing_table == "" ? local.arns.table : "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${var.existing_table}"
        },
        {
          Sid      = "Publish"
          Effect   = "Allow"
          Action   = "sns:Publish"
          Resource = local.arns.alerts
        },
        {
          Sid      = "WriteLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${local.arns.log}:*"
        },
      ],
      length(local.more_topics) == 0 ? [] : [{
        Sid      = "PublishMore"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = local.more_topics
      }],
      !var.security_hub ? [] : [{
        Sid      = "ImportFindings"
        Effect   = "Allow"
        Action   = "securityhub:BatchImportFindings"
        Resource = local.product
      }],
      length(local.trail_keys) == 0 ? [] : [{
        Sid      = "DecryptFiles"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = local.trail_keys
        # In whichever region the bucket is: a key works in its own region only.
        Condition = local.via_s3
      }],
      !local.has_key ? [] : [{
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = local.use_of_key
        Resource = var.key_arn
        # Lambda: the environment of the function. S3: a rules bucket with the same key.
        Condition = { StringEquals = { "kms:ViaService" = values(local.via) } }
      }],
      var.trigger_queue_key_arn == "" ? [] : [{
        Sid       = "DecryptQueue"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.trigger_queue_key_arn
        Condition = { StringEquals = { "kms:ViaService" = local.via.sqs } }
      }],
      length(local.topic_keys) == 0 ? [] : [{
        Sid       = "EncryptForTopics"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = local.topic_keys
        Condition = { StringEquals = { "kms:ViaService" = local.via.sns } }
      }],
      var.existing_table_key_arn == "" ? [] : [{
        Sid       = "UseTableKey"
        Effect    = "Allow"
        Action    = local.use_of_key
        Resource  = var.existing_table_key_arn
        Condition = { StringEquals = { "kms:ViaService" = local.via.dynamodb } }
      }],
      var.rules_key_arn == "" ? [] : [{
        Sid       = "DecryptRules"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.rules_key_arn
        Condition = local.via_s3
      }],
      !local.has_rules ? [] : [{
        Sid      = "ReadRules"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.s3}${var.rules_bucket}/${var.rules_prefix}*"
      }],
      !local.has_policy ? [] : [{
        Sid      = "ReadPolicy"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.s3}${var.rules_bucket}/${var.policy_key}"
      }],
      !local.has_vars ? [] : [{
        Sid      = "ReadVars"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.s3}${var.rules_bucket}/${var.vars_key}"
      }],
      !local.has_lists ? [] : [{
        Sid      = "ReadNetworks"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.s3}${var.rules_bucket}/${var.networks_prefix}*"
      }],
      length(local.rules_prefixes) == 0 ? [] : [{
        Sid       = "ListRules"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = "${local.s3}${var.rules_bucket}"
        Condition = { StringLike = { "s3:prefix" = local.rules_prefixes } }
      }],
      # Lambda itself may do this with the role, and the code of the function may not.
      !local.in_subnets ? [] : [{
        Sid      = "JoinSubnets"
        Effect   = "Allow"
        Action   = local.on_interfaces
        Resource = "*"
      }],
      !local.in_subnets ? [] : [{
        Sid       = "NotByTheCode"
        Effect    = "Deny"
        Action    = local.on_interfaces
        Resource  = "*"
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.function}" } }
      }],
    )
  })
}
