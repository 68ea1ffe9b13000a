output "state_machine" {
  description = "ARN for `secretrail backfill run --state-machine`."
  value       = aws_sfn_state_machine.machine.arn
}

output "jobs" {
  description = "Plan jobs below this prefix."
  value       = "s3://${var.job_bucket}/${var.job_prefix}"
}

output "role_arn" {
  description = "ARN of the function's role, for policies of buckets and keys in other accounts."
  value       = aws_iam_role.role.arn
}
