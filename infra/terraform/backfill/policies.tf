# What the roles may do and what the state machine does, from the variables and from what main.tf knows. A test evaluates this file
# and variables.tf alone and compares them with ../../backfill.yaml.

locals {
  function   = "${var.name}-extractor"
  machine    = "${var.name}-backfill"
  in_subnets = var.subnet_ids != ""
  subnets    = local.in_subnets ? split(",", var.subnet_ids) : []
  groups     = local.in_subnets ? split(",", var.security_group_ids) : []
  logs_keys  = var.logs_key_arn == "" ? [] : split(",", var.logs_key_arn)
  s3         = "arn:${local.partition}:s3:::"
  jobs       = "${local.s3}${var.job_bucket}/${var.job_prefix}"
  place      = "${local.region}:${local.account}"
  via_s3     = { StringLike = { "kms:ViaService" = "s3.*.${local.suffix}" } }
  environment = {
    SECRETRAIL_MODE         = "extract"
    SECRETRAIL_PARALLEL     = "16"
    SECRETRAIL_CALL_TIMEOUT = "30s"
  }

  on_interfaces = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"]

  role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadLogs"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = "${local.s3}${var.logs_bucket}/${var.logs_prefix}*"
        },
        # Without it, S3 calls a missing file denied.
        {
          Sid       = "ListLogs"
          Effect    = "Allow"
          Action    = "s3:ListBucket"
          Resource  = "${local.s3}${var.logs_bucket}"
          Condition = { StringLike = { "s3:prefix" = "${var.logs_prefix}*" } }
        },
        {
          Sid      = "ReadManifests"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = "${local.jobs}*manifest.jsonl"
        },
        {
          Sid      = "WriteParts"
          Effect   = "Allow"
          Action   = "s3:PutObject"
          Resource = ["${local.jobs}*.extract.jsonl.gz", "${local.jobs}*.failed.jsonl"]
        },
        # A batch that is run again and reads everything removes the list of what it could not read before.
        {
          Sid      = "ClearFailed"
          Effect   = "Allow"
          Action   = "s3:DeleteObject"
          Resource = "${local.jobs}*.failed.jsonl"
        },
        {
          Sid      = "WriteLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${local.arns.log}:*"
        },
      ],
      length(local.logs_keys) == 0 ? [] : [{
        Sid       = "DecryptLogs"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = local.logs_keys
        Condition = local.via_s3
      }],
      var.job_key_arn == "" ? [] : [{
        Sid       = "UseJobKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = var.job_key_arn
        Condition = local.via_s3
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
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = "arn:${local.partition}:lambda:${local.place}:function:${local.function}" } }
      }],
    )
  })

  machine_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Invoke"
          Effect   = "Allow"
          Action   = "lambda:InvokeFunction"
          Resource = local.arns.function
        },
        {
          Sid      = "ReadItems"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = "${local.jobs}*.csv"
        },
        {
          Sid      = "WriteResults"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
          Resource = "${local.jobs}*results/*"
        },
      ],
      var.job_key_arn == "" ? [] : [{
        Sid       = "UseJobKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = var.job_key_arn
        Condition = local.via_s3
      }],
      [
        {
          Sid      = "StartChildren"
          Effect   = "Allow"
          Action   = "states:StartExecution"
          Resource = "arn:${local.partition}:states:${local.place}:stateMachine:${local.machine}"
        },
        {
          Sid    = "WatchChildren"
          Effect = "Allow"
          Action = ["states:DescribeExecution", "states:StopExecution"]
          Resource = [
            "arn:${local.partition}:states:${local.place}:execution:${local.machine}:*",
            "arn:${local.partition}:states:${local.place}:execution:${local.machine}/*",
          ]
        },
      ],
    )
  })

  # Throttling is waited for, a day if need be; an error that stays is not retried.
  retry = [
    {
      ErrorEquals     = ["Lambda.TooManyRequestsException", "Lambda.EC2ThrottledException", "Lambda.ENILimitReachedException", "Lambda.SubnetIPAddressLimitReachedException"]
      IntervalSeconds = 5
      BackoffRate     = 1.5
      MaxDelaySeconds = 120
      MaxAttempts     = 2000
      JitterStrategy  = "FULL"
    },
    {
      ErrorEquals     = ["Secretrail.Transient", "Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException", "Lambda.ResourceNotReadyException"]
      IntervalSeconds = 2
      BackoffRate     = 2
      MaxDelaySeconds = 120
      MaxAttempts     = 12
      JitterStrategy  = "FULL"
    },
    {
      ErrorEquals     = ["Lambda.Unknown", "Sandbox.Timedout", "States.Timeout"]
      IntervalSeconds = 2
      BackoffRate     = 2
      MaxDelaySeconds = 120
      MaxAttempts     = 2
      JitterStrategy  = "FULL"
    },
  ]
  extract = { Type = "Task", Resource = local.arns.function, TimeoutSeconds = 660, Retry = local.retry }

  # One batch runs alone first, so that what would fail all of them fails once. If S3 refuses all its objects, one of another account
  # does: an account that cannot be read must not stop the others. What children return is written to the job: the output of an
  # execution holds 256 KiB.
  definition = jsonencode({
    Comment = "Extracts each batch of the item list into its extract file"
    StartAt = "Canary"
    States = {
      Canary = merge(local.extract, {
        Parameters = { "bucket.$" = "$.bucket", "prefix.$" = "$.prefix", "item.$" = "$.canary" }
        Catch      = [{ ErrorEquals = ["Secretrail.AllFailed"], ResultPath = "$.refused", Next = "OtherCanary" }]
        ResultPath = null
        Next       = "AreThereMore"
      })
      OtherCanary = merge(local.extract, {
        Parameters = { "bucket.$" = "$.bucket", "prefix.$" = "$.prefix", "item.$" = "$.other" }
        ResultPath = null
        Next       = "AreThereMore"
      })
      AreThereMore = {
        Type    = "Choice"
        Choices = [{ Variable = "$.more", BooleanEquals = true, Next = "Batches" }]
        Default = "Done"
      }
      Batches = {
        Type                       = "Map"
        Label                      = "batches"
        MaxConcurrency             = var.max_concurrency
        ToleratedFailurePercentage = var.tolerated_failure_percentage
        ItemReader = {
          Resource     = "arn:${local.partition}:states:::s3:getObject"
          ReaderConfig = { InputType = "CSV", CSVHeaderLocation = "FIRST_ROW" }
          Parameters   = { "Bucket.$" = "$.bucket", "Key.$" = "$.items" }
        }
        ItemSelector = { "bucket.$" = "$.bucket", "prefix.$" = "$.prefix", "item.$" = "$$.Map.Item.Value" }
        ItemProcessor = {
          ProcessorConfig = { Mode = "DISTRIBUTED", ExecutionType = "STANDARD" }
          StartAt         = "Extract"
          States          = { Extract = merge(local.extract, { End = true }) }
        }
        ResultWriter = {
          Resource   = "arn:${local.partition}:states:::s3:putObject"
          Parameters = { "Bucket.$" = "$.bucket", "Prefix.$" = "$.results" }
        }
        ResultPath = null
        Next       = "Done"
      }
      Done = { Type = "Succeed" }
    }
  })
}
