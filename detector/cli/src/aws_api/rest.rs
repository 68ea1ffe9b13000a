//! The REST protocol with JSON answers: operations are paths.

use percent_encoding::utf8_percent_encode;
use secretrail_aws::signed::{ApiRequest, json, service::AwsService};
use serde_json::Value;

use super::{ApiError, AwsApi, query::RESERVED};

impl AwsApi {
    /// Calls an operation of a REST service that reads, such as `GetFunctionConfiguration` of
    /// Lambda, by its path; parts of it that are values are escaped by [`segment`].
    ///
    /// # Errors
    ///
    /// [`ApiError`]: why the call failed.
    pub fn get(
        &self,
        service: &AwsService,
        operation: &str,
        path: &str,
    ) -> Result<Value, ApiError> {
        let request = ApiRequest {
            service,
            region: &self.region,
            method: "GET",
            path,
            headers: Vec::new(),
            body: String::new(),
            failed: json::failed,
        };
        let action = service.action(operation);
        self.send(&request)
            .and_then(|answer| json::value(&answer))
            .map_err(|failed| ApiError::of(failed, &action))
    }
}

/// A value as one segment of a path.
#[must_use]
pub fn segment(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}
