//! The query protocol: a form as the body, XML as the answer.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secretrail_aws::{
    retry::FailedCall,
    signed::{
        ApiAnswer, ApiRequest,
        service::{AwsService, Protocol},
    },
};

use super::{ApiError, AwsApi, xml::XmlElement};

/// What is not a letter or digit, without the characters that RFC 3986 leaves as they are.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl AwsApi {
    /// Calls an operation of a query service, such as CloudFormation, SNS or CloudWatch. Returns
    /// the element `<operation>Result` of the answer.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: why the call failed.
    pub fn query(
        &self,
        service: &AwsService,
        operation: &str,
        input: &[(&str, &str)],
    ) -> Result<XmlElement, ApiError> {
        let action = service.action(operation);
        let version = match service.protocol {
            Protocol::Query { version } => version,
            Protocol::Json { .. } | Protocol::RestJson => "",
        };
        let fixed = [("Action", operation), ("Version", version)];
        let fields = fixed.iter().chain(input).map(|(name, value)| {
            let value = utf8_percent_encode(value, RESERVED);
            format!("{}={value}", utf8_percent_encode(name, RESERVED))
        });
        let fields: Vec<String> = fields.collect();
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let request = ApiRequest {
            service,
            region: &self.region,
            method: "POST",
            path: "/",
            headers: vec![("content-type", form.to_owned())],
            body: fields.join("&"),
            failed,
        };
        self.send(&request)
            .and_then(|answer| result(&answer, operation))
            .map_err(|failed| ApiError::of(failed, &action))
    }

    /// Calls an operation until it gives no token for more, and returns all its answers.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: why a call failed.
    pub fn query_pages(
        &self,
        service: &AwsService,
        operation: &str,
        input: &[(&str, &str)],
    ) -> Result<Vec<XmlElement>, ApiError> {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let mut input = input.to_vec();
            if !token.is_empty() {
                input.push(("NextToken", &token));
            }
            let page = self.query(service, operation, &input)?;
            let next = page.text("NextToken").unwrap_or_default().to_owned();
            pages.push(page);
            // A token that comes again would never end.
            if next.is_empty() || next == token {
                return Ok(pages);
            }
            token = next;
        }
    }
}

fn result(answer: &ApiAnswer, operation: &str) -> Result<XmlElement, FailedCall> {
    let text = String::from_utf8_lossy(&answer.body);
    let root = XmlElement::parse(&text);
    let root =
        root.map_err(|error| FailedCall::interrupted(format!("the answer is not XML: {error}")))?;
    let name = format!("{operation}Result");
    Ok(root.into_child(&name))
}

/// The error in an answer.
fn failed(answer: &ApiAnswer) -> FailedCall {
    let text = String::from_utf8_lossy(&answer.body);
    let root = XmlElement::parse(&text).unwrap_or_default();
    // `ErrorResponse` has an `Error`, or is one, as in S3.
    let error = root.child("Error").unwrap_or(&root);
    FailedCall::answered(answer.status, error.text("Code"), error.text("Message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_code_and_message() {
        let body = "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
            <Type>Sender</Type><Code>AuthorizationError</Code><Message>User: arn:aws:iam::\
            111122223333:user/ana is not authorized to perform: SNS:ListSubscriptionsByTopic on \
            resource: x</Message></Error><RequestId>1</RequestId></ErrorResponse>";
        let failed = failed(&ApiAnswer {
            status: 403,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        });
        assert_eq!(failed.code.as_deref(), Some("AuthorizationError"));
        let action = failed.action.as_deref();
        assert_eq!(action, Some("SNS:ListSubscriptionsByTopic"));
        assert!(
            failed.to_string().starts_with("access denied: "),
            "{failed}"
        );
    }
}
