//! Errors of the SDK as people read them: on one line, without the structs behind them.

use std::error::Error;

use aws_sdk_s3::error::ErrorMetadata;
use secretrail_engine::sanitize;

/// Texts with which the SDK wraps an error, and which say nothing about it.
const WRAPPERS: [&str; 13] = [
    "an error occurred while loading an access token",
    "an error occurred while loading credentials",
    "client error (Connect)",
    "client error (SendRequest)",
    "dispatch failure",
    "failed to construct request",
    "io error",
    "other",
    "service error",
    "the credential provider was not enabled",
    "the credentials provider was not properly configured",
    "unexpected credentials error",
    "unhandled error",
];

/// An error with its causes, from the outermost to the innermost, on one line. Only what they
/// print is used, never their Debug output.
#[must_use]
pub fn plain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = match cause.downcast_ref::<ErrorMetadata>() {
            // Its Display is that of a struct.
            Some(metadata) => described(metadata.code(), metadata.message()),
            None => one_line(&cause.to_string()),
        };
        let says_more = !parts.iter().any(|part| part.contains(&text));
        if says_more && !is_wrapper(&text) {
            parts.push(text);
        }
    }
    if parts.is_empty() {
        one_line(&error.to_string())
    } else {
        parts.join(": ")
    }
}

/// The error and its causes, outermost first.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Code and message of a service, as far as it sent them.
pub(crate) fn described(code: Option<&str>, message: Option<&str>) -> String {
    let parts: Vec<&str> = [code, message].into_iter().flatten().collect();
    one_line(&parts.join(": "))
}

fn is_wrapper(text: &str) -> bool {
    // The SDK puts the code into the brackets; it stands in the metadata too, with the message.
    text.is_empty() || WRAPPERS.contains(&text) || text.starts_with("unhandled error (")
}

/// Text on one line, with single spaces and without control characters.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    sanitize::line(&words.join(" ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::{error::SdkError, operation::get_object::GetObjectError};
    use std::io;

    #[test]
    fn wrappers_and_repetitions_say_nothing() {
        let refused = io::Error::other("Connection\n  refused");
        let error = SdkError::<GetObjectError>::timeout_error(refused);
        assert_eq!(plain(&error), "request has timed out: Connection refused");
        let bare = io::Error::other("service error");
        assert_eq!(plain(&bare), "service error");
    }

    #[test]
    fn metadata_is_its_code_and_message_and_never_a_struct() {
        let metadata = ErrorMetadata::builder()
            .code("AccessDenied")
            .message("not\nyou")
            .custom("aws_request_id", "1")
            .build();
        let error = GetObjectError::generic(metadata);
        assert_eq!(plain(&error), "AccessDenied: not you");
    }
}
