# What is sent and allowed, from the variables. A test evaluates this file and variables.tf alone and compares them with
# ../../forward.yaml.

locals {
  kinds = var.digests ? ["CloudTrail", "CloudTrail-Digest"] : ["CloudTrail"]
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.trail_bucket] }
      object = { key = [for kind in local.kinds : { wildcard = "${var.trail_prefix}AWSLogs/*/${kind}/*" }] }
    }
  })
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
  role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "Forward", Effect = "Allow", Action = "events:PutEvents", Resource = var.bus_arn }]
  })
}
