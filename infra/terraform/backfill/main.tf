# The resources of ../../backfill.yaml for Terraform. A test keeps both in sync.

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
  boundary  = var.permissions_boundary_arn == "" ? null : var.permissions_boundary_arn
  arns = {
    log      = aws_cloudwatch_log_group.log.arn
    function = "arn:${local.partition}:lambda:${local.place}:function:${local.function}"
  }
}

# It is kept when everything is destroyed; the end of its name keeps it apart from that of the next deployment.
resource "aws_cloudwatch_log_group" "log" {
  #checkov:skip=CKV_AWS_158:The log contains names of extract files and counts; CloudWatch encrypts it with its own key.
  #checkov:skip=CKV_AWS_338:log_retention_days sets the retention.
  name_prefix       = "/aws/lambda/${local.function}-"
  retention_in_days = var.log_retention_days
  skip_destroy      = true
  tags              = var.tags
}

# Without aws:SourceAccount: AWS does not document that Lambda sends it when it assumes an execution role.
resource "aws_iam_role" "role" {
  name_prefix          = "${var.name}-"
  permissions_boundary = local.boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "role" {
  name   = "extractor"
  role   = aws_iam_role.role.id
  policy = local.role_policy
}

resource "aws_lambda_function" "extractor" {
  #checkov:skip=CKV_AWS_115:The state machine limits concurrency, without reserving part of the account limit.
  #checkov:skip=CKV_AWS_116:The invocation is synchronous; the state machine retries failed batches, and the command names them.
  #checkov:skip=CKV_AWS_117:The function calls only AWS APIs; subnet_ids puts it into private subnets.
  #checkov:skip=CKV_AWS_173:The environment contains no secrets.
  #checkov:skip=CKV_AWS_272:The package is built here, reproducibly, and not signed.
  #checkov:skip=CKV_AWS_50:Each invocation logs its result in one line.
  function_name    = local.function
  description      = "Extracts a batch of CloudTrail files into one extract file."
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = var.memory_size
  timeout          = 600
  role             = aws_iam_role.role.arn
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

resource "aws_iam_role" "machine_role" {
  name_prefix          = "${var.name}-"
  permissions_boundary = local.boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "states.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "machine_role" {
  name   = "machine"
  role   = aws_iam_role.machine_role.id
  policy = local.machine_policy
}

resource "aws_sfn_state_machine" "machine" {
  #checkov:skip=CKV_AWS_284:Child executions keep their own history, and the function logs the result of each batch.
  #checkov:skip=CKV_AWS_285:Child executions keep their own history, and the function logs the result of each batch.
  name       = local.machine
  type       = "STANDARD"
  role_arn   = aws_iam_role.machine_role.arn
  definition = local.definition
  tags       = var.tags

  # The definition names the function by its ARN.
  depends_on = [aws_lambda_function.extractor, aws_iam_role_policy.machine_role]
}
