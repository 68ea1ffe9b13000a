# Whatever would be ignored is refused, before anything is created; as the rules of the template.

resource "terraform_data" "combinations" {
  lifecycle {
    precondition {
      condition     = var.job_bucket != var.logs_bucket
      error_message = "job_bucket must not be logs_bucket, so that nothing can write to the logs."
    }

    precondition {
      condition     = var.subnet_ids == "" || var.security_group_ids != ""
      error_message = "subnet_ids requires security_group_ids."
    }

    precondition {
      condition     = var.security_group_ids == "" || var.subnet_ids != ""
      error_message = "security_group_ids requires subnet_ids."
    }
  }
}
