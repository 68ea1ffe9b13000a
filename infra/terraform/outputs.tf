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
  description = "Name of the state table."
  value       = aws_dynamodb_table.table.name
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.detector.function_name
}
