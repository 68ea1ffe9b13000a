# The resources of ../../forward.yaml for Terraform. A test keeps both in sync.

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

locals {
  account = data.aws_caller_identity.here.account_id
}

resource "aws_iam_role" "role" {
  name_prefix          = "${var.name}-"
  permissions_boundary = var.permissions_boundary_arn == "" ? null : var.permissions_boundary_arn
  tags                 = var.tags
  assume_role_policy   = local.trust
}

resource "aws_iam_role_policy" "role" {
  name   = "forward"
  role   = aws_iam_role.role.id
  policy = local.role_policy
}

resource "aws_cloudwatch_event_rule" "new_files" {
  name          = "${var.name}-new-files"
  description   = "Sends events about new files of the trail to the account of Secretrail."
  event_pattern = local.event_pattern
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "new_files" {
  rule     = aws_cloudwatch_event_rule.new_files.name
  arn      = var.bus_arn
  role_arn = aws_iam_role.role.arn
}

output "rule" {
  description = "Name of the rule. Its metric FailedInvocations counts events that the other account refused."
  value       = aws_cloudwatch_event_rule.new_files.name
}
