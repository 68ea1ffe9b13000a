//! What stands in the way of a failed call, as far as people can remove it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::SdkError;

use crate::plain::causes;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureCause {
    /// There are no credentials, or they could not be loaded.
    NoCredentials,
    /// The session behind the credentials has expired.
    Expired,
    /// Access key, secret key or session token are not valid.
    InvalidKey,
    /// The clock of this computer differs too much from that of AWS.
    ClockSkew,
    /// The action is not allowed.
    Denied,
    /// No region is configured.
    NoRegion,
    /// The bucket is in another region, with its name if S3 said it.
    OtherRegion(Option<String>),
    /// There is no bucket of this name.
    NoBucket,
    /// There is no such object, or version of it.
    NoObject,
    /// The object is archived in S3 Glacier and must be restored first.
    Archived,
    /// No response came.
    Unreachable,
    /// Anything else.
    Other,
}

/// An answer of a service, as far as it tells the cause of a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorResponse<'a> {
    pub(crate) status: Option<u16>,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    /// Region of the bucket, which S3 adds to most responses.
    pub(crate) region: Option<&'a str>,
}

impl FailureCause {
    /// The cause that a response of a service tells.
    pub(crate) fn of_response(response: &ErrorResponse<'_>) -> Self {
        let ErrorResponse {
            status,
            code,
            message,
            region,
        } = *response;
        if names_other_region(code, message) {
            let region = region.or(expected_region(message));
            return Self::OtherRegion(region.map(str::to_owned));
        }
        // By code before status: S3 answers 403 to wrong keys and wrong clocks as well as to denied
        // actions.
        if let Some(cause) = Self::of_code(code, message) {
            return cause;
        }
        match status {
            Some(301) => Self::OtherRegion(region.map(str::to_owned)),
            Some(403) => Self::Denied,
            Some(404) => Self::NoObject,
            _ => Self::Other,
        }
    }

    fn of_code(code: &str, message: &str) -> Option<Self> {
        let cause = match code {
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Self::Expired,
            "RequestExpired" | "RequestTimeTooSkewed" => Self::ClockSkew,
            // Services other than S3 have one code for wrong keys and for wrong clocks.
            "InvalidSignatureException" | "SignatureDoesNotMatch" if is_about_time(message) => {
                Self::ClockSkew
            }
            "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "InvalidToken"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => Self::InvalidKey,
            "AccessDenied"
            | "AccessDeniedException"
            | "AllAccessDisabled"
            | "AuthorizationError"
            | "UnauthorizedOperation" => Self::Denied,
            "InvalidObjectState" => Self::Archived,
            "NoSuchBucket" => Self::NoBucket,
            "NoSuchKey" | "NoSuchVersion" => Self::NoObject,
            _ => return None,
        };
        Some(cause)
    }

    /// The cause of a call to which no service responded, or with what nobody can read.
    pub(crate) fn without_response<E>(error: &SdkError<E>, message: &str) -> Self
    where
        E: Error + 'static,
    {
        if credentials_error(error).is_some() {
            Self::NoCredentials
        } else if message.contains("Missing Region") || message.contains("region must be set") {
            Self::NoRegion
        } else if matches!(
            error,
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_)
        ) {
            Self::Unreachable
        } else {
            Self::Other
        }
    }
}

/// The error of the credentials among the causes of an error.
pub(crate) fn credentials_error<'e>(
    error: &'e (dyn Error + 'static),
) -> Option<&'e CredentialsError> {
    causes(error).find_map(<dyn Error>::downcast_ref)
}

/// As in `Signature expired: … is now earlier than …` and `Signature not yet current: …`.
fn is_about_time(message: &str) -> bool {
    message.contains("Signature expired") || message.contains("not yet current")
}

/// S3 has several codes for a bucket elsewhere; that of a wrong signature is shared with other
/// faults.
fn names_other_region(code: &str, message: &str) -> bool {
    match code {
        "IllegalLocationConstraintException" | "PermanentRedirect" | "TemporaryRedirect" => true,
        "AuthorizationHeaderMalformed" => message.contains("region"),
        _ => false,
    }
}

/// The region in `the region 'us-east-1' is wrong; expecting 'eu-west-1'`.
fn expected_region(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, code: &str, message: &str, region: Option<&str>) -> FailureCause {
        FailureCause::of_response(&ErrorResponse {
            status: Some(status),
            code,
            message,
            region,
        })
    }

    #[test]
    fn a_bucket_elsewhere_is_known_by_header_or_text() {
        let in_ireland = FailureCause::OtherRegion(Some("eu-west-1".to_owned()));
        let ireland = Some("eu-west-1");
        assert_eq!(told(301, "PermanentRedirect", "", ireland), in_ireland);
        let wrong = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        assert_eq!(
            told(400, "AuthorizationHeaderMalformed", wrong, None),
            in_ireland
        );
        let unnamed = FailureCause::OtherRegion(None);
        assert_eq!(told(301, "PermanentRedirect", "", None), unnamed);
        // The header alone, which every response has, is no proof.
        assert_eq!(told(403, "AccessDenied", "", ireland), FailureCause::Denied);
        assert_eq!(
            told(400, "InvalidArgument", "", ireland),
            FailureCause::Other
        );
    }

    #[test]
    fn one_code_means_a_wrong_key_or_a_wrong_clock() {
        let code = "InvalidSignatureException";
        let late = "Signature expired: 20260302T110000Z is now earlier than 20260302T115500Z";
        assert_eq!(told(400, code, late, None), FailureCause::ClockSkew);
        let wrong = "The request signature we calculated does not match";
        assert_eq!(told(400, code, wrong, None), FailureCause::InvalidKey);
    }

    #[test]
    fn a_code_says_more_than_a_status() {
        for (status, code, cause) in [
            (400, "ExpiredToken", FailureCause::Expired),
            (403, "RequestTimeTooSkewed", FailureCause::ClockSkew),
            (403, "InvalidAccessKeyId", FailureCause::InvalidKey),
            (403, "InvalidObjectState", FailureCause::Archived),
            (404, "NoSuchBucket", FailureCause::NoBucket),
            (404, "NoSuchKey", FailureCause::NoObject),
            (400, "AccessDeniedException", FailureCause::Denied),
            (403, "", FailureCause::Denied),
            (404, "", FailureCause::NoObject),
            (500, "InternalError", FailureCause::Other),
        ] {
            assert_eq!(told(status, code, "", None), cause, "{status} {code}");
        }
    }
}
