//! Answers in JSON, and the errors in them.

use serde_json::Value;

use super::ApiAnswer;
use crate::retry::FailedCall;

/// The JSON of an answer; an empty one is `null`.
///
/// # Errors
///
/// [`FailedCall`]: it is not JSON.
pub fn value(answer: &ApiAnswer) -> Result<Value, FailedCall> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| FailedCall::interrupted(format!("the answer is not JSON: {error}")))
}

/// The error in an answer.
#[must_use]
pub fn failed(answer: &ApiAnswer) -> FailedCall {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = answer.header("x-amzn-errortype");
    let code = code.or_else(|| text(&body, ["__type", "code"])).map(bare);
    // Services differ in the case of the first letter.
    let message = text(&body, ["message", "Message"]);
    FailedCall::answered(answer.status, code, message)
}

/// The first of these texts that is there.
fn text<'v>(body: &'v Value, names: [&str; 2]) -> Option<&'v str> {
    names.into_iter().find_map(|name| body.get(name)?.as_str())
}

/// A code without its namespace, as in `com.amazonaws.dynamodb#ResourceNotFoundException`, and
/// without the URL that may follow it in a header.
fn bare(code: &str) -> &str {
    let code = code.split_once('#').map_or(code, |(_, code)| code);
    code.split_once(':').map_or(code, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str, header: Option<&str>) -> ApiAnswer {
        let header = header.map(|value| ("x-amzn-errortype".to_owned(), value.to_owned()));
        ApiAnswer {
            status: 400,
            headers: header.into_iter().collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_code_is_read_from_body_or_header() {
        let code = |body, header| failed(&answer(body, header)).code.unwrap_or_default();
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            "message":"none"}"#;
        assert_eq!(code(body, None), "ResourceNotFoundException");
        let header = Some("AccessDeniedException:http://internal.amazon.com/coral/");
        assert_eq!(code("{}", header), "AccessDeniedException");
        assert_eq!(failed(&answer("<html>", None)).message, "HTTP status 400");
    }
}
