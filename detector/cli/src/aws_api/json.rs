//! The JSON protocols: an object as the body, the operation in a header.

use secretrail_aws::signed::{
    ApiRequest, json,
    service::{AwsService, Protocol},
};
use serde_json::Value;

use super::{ApiError, AwsApi};

impl AwsApi {
    /// Calls an operation of a JSON service, such as DynamoDB, SQS, KMS or EventBridge.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: why the call failed.
    pub fn json(
        &self,
        service: &AwsService,
        operation: &str,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let action = service.action(operation);
        let mut headers = Vec::new();
        if let Protocol::Json { version, target } = service.protocol {
            headers.push(("content-type", format!("application/x-amz-json-{version}")));
            headers.push(("x-amz-target", format!("{target}.{operation}")));
        }
        let request = ApiRequest {
            service,
            region: &self.region,
            method: "POST",
            path: "/",
            headers,
            body: input.to_string(),
            failed: json::failed,
        };
        self.send(&request)
            .and_then(|answer| json::value(&answer))
            .map_err(|failed| ApiError::of(failed, &action))
    }
}
