output "alert_topic" {
  description = "Topic for alerts; subscribe recipients here."
  value       = aws_sns_topic.alerts.arn
}

output "alarm_topic" {
  description = "Topic for alarms about Secretrail itself."
  value       = aws_sns_topic.alarms.arn
}

output "dead_letter_queue" {
  description = "URL of the dead-letter queue, with notifications of files that could not be read."
  value       = aws_sqs_queue.dead_letters.url
}

output "file_queue" {
  description = "URL of the queue with notifications of new files; null with your own queue."
  value       = local.own_queue ? aws_sqs_queue.files[0].url : null
}

output "state_table" {
  description = "Name of the state table; existing_table takes it."
  value       = local.table
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.detector.function_name
}

output "log_group" {
  description = "Name of the function's log group, which is kept when everything is destroyed."
  value       = aws_cloudwatch_log_group.log.name
}

output "role_arn" {
  description = "ARN of the function's role, for policies of buckets, keys and topics in other accounts."
  value       = aws_iam_role.role.arn
}

output "version" {
  description = "Version of this configuration."
  value       = "0.1.0"
}
