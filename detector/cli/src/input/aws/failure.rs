//! Failed calls to AWS for people: the cause, what AWS said, and the remedy, on one line.

use secretrail_aws::{cause::FailureCause, retry::FailedCall};

/// A failed call with its remedy.
pub(crate) fn explained(failed: &FailedCall) -> String {
    match remedy(failed) {
        Some(remedy) => format!("{failed}; {remedy}"),
        None => failed.to_string(),
    }
}

fn remedy(failed: &FailedCall) -> Option<String> {
    let remedy = match &failed.cause {
        FailureCause::Denied => return failed.action.as_deref().map(permission),
        FailureCause::OtherRegion(Some(region)) => {
            return Some(format!("use --aws-region {region}"));
        }
        FailureCause::OtherRegion(None) => "use --aws-region with the region of the bucket",
        FailureCause::Expired => {
            "get new ones (`aws sso login`, `aws login`, or new keys in AWS_*) and run this again"
        }
        FailureCause::InvalidKey => {
            "check --profile, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
             AWS_SESSION_TOKEN"
        }
        FailureCause::ClockSkew => "set it, for example by turning on time synchronisation",
        FailureCause::NoRegion => "use --aws-region, AWS_REGION, or `region` in the profile",
        FailureCause::NoBucket => "check its name, and that --profile is in its partition",
        FailureCause::Archived => {
            "restore it with `aws s3api restore-object`, and read it when it is there"
        }
        FailureCause::Unreachable => "check the network, --aws-region and --endpoint-url",
        // The errors of credentials have their own remedy.
        FailureCause::NoCredentials | FailureCause::NoObject | FailureCause::Other => return None,
    };
    Some(remedy.to_owned())
}

/// How to be allowed an action.
fn permission(action: &str) -> String {
    let also = match action {
        // S3 does not say that it is the key of the object that is denied.
        "s3:GetObject" => " (and kms:Decrypt, if the object is encrypted with a KMS key)",
        _ => "",
    };
    format!("allow {action}{also} in the policy of the role or of the resource, or use --profile")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(cause: FailureCause, action: Option<&str>) -> String {
        explained(&FailedCall {
            cause,
            action: action.map(str::to_owned),
            ..FailedCall::interrupted("Code: text".to_owned())
        })
    }

    #[test]
    fn each_cause_has_its_remedy() {
        assert_eq!(
            failed(
                FailureCause::OtherRegion(Some("eu-west-1".to_owned())),
                None
            ),
            "the bucket is in another region, eu-west-1; use --aws-region eu-west-1"
        );
        assert_eq!(
            failed(FailureCause::Denied, Some("s3:ListBucket")),
            "access denied: s3:ListBucket: Code: text; allow s3:ListBucket in the policy of the \
             role or of the resource, or use --profile"
        );
        let read = failed(FailureCause::Denied, Some("s3:GetObject"));
        assert!(read.contains("and kms:Decrypt"), "{read}");
        assert_eq!(failed(FailureCause::Other, None), "Code: text");
        for (cause, remedy) in [
            (FailureCause::Expired, "aws sso login"),
            (FailureCause::InvalidKey, "AWS_ACCESS_KEY_ID"),
            (FailureCause::ClockSkew, "time synchronisation"),
            (FailureCause::NoRegion, "--aws-region"),
            (FailureCause::NoBucket, "check its name"),
            (FailureCause::Archived, "restore-object"),
            (FailureCause::Unreachable, "--endpoint-url"),
        ] {
            let reported = failed(cause, None);
            assert!(reported.contains(remedy), "{reported}");
        }
    }
}
