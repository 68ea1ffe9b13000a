output "alert_topic" {
  description = "The topic of the alerts; subscribe whoever should know."
  value       = aws_sns_topic.alerts.arn
}

output "alarm_topic" {
  description = "The topic of the alarms about Secretrail itself."
  value       = aws_sns_topic.alarms.arn
}

output "dead_letter_queue" {
  description = "Notifications of files that could not be read."
  value       = aws_sqs_queue.dead_letters.url
}

output "file_queue" {
  description = "Notifications of new files."
  value       = local.own_queue ? aws_sqs_queue.files[0].url : null
}

output "state_table" {
  description = "The state."
  value       = aws_dynamodb_table.table.name
}

output "function_name" {
  description = "The function."
  value       = aws_lambda_function.detector.function_name
}
