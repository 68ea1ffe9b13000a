//! Imports incidents into AWS Security Hub as findings, with a result for each.
//!
//! Limits: 100 findings in a call, 240 KB for a finding, 10 calls a second. The account of a
//! finding is that of the caller. Source: AWS Security Hub API reference, `BatchImportFindings`,
//! and partner guide, "Guidelines for using the BatchImportFindings API", checked 2026-11.

use std::time::Duration;

use aws_types::SdkConfig;
use secretrail_engine::{
    ids::{ArnParts, is_account},
    incident::{asff, message::IncidentMessage},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    retry::{FailedCall, RetryPolicy},
    signed::{ApiRequest, CallLimits, SignedClient, json, service::SECURITY_HUB},
    sns::{EntryError, Published},
};

/// Most findings of a call.
const MOST_FINDINGS: usize = 100;

/// How long a batch is tried before Security Hub counts as failing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The findings that were not imported, in an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImportAnswer {
    failed_findings: Vec<FailedFinding>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FailedFinding {
    id: String,
    error_code: String,
    error_message: String,
}

/// Whether an ARN is that of a product of Security Hub, such as
/// `arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default`.
#[must_use]
pub fn is_product(arn: &str) -> bool {
    ArnParts::parse(arn).is_some_and(|arn| {
        let default = arn.resource.strip_prefix("product/");
        let default = default.and_then(|rest| rest.strip_suffix("/default"));
        arn.service == "securityhub"
            && !arn.region.is_empty()
            && is_account(arn.account)
            && default == Some(arn.account)
    })
}

/// Imports findings into Security Hub.
#[derive(Debug, Clone)]
pub struct SecurityHub {
    client: SignedClient,
}

impl SecurityHub {
    /// With the credentials and endpoints of a configuration. `call_timeout` is for one try.
    #[must_use]
    pub fn new(config: &SdkConfig, retry: RetryPolicy, call_timeout: Duration) -> Self {
        let limits = CallLimits {
            credentials: call_timeout,
            answer: call_timeout,
            retry,
        };
        Self {
            client: SignedClient::new(config, limits),
        }
    }

    /// Imports incidents, in their order, until Security Hub fails; the result of each. A finding
    /// that is imported once more is the same finding.
    pub async fn import(
        &self,
        product_arn: &str,
        incidents: &[&IncidentMessage],
    ) -> Vec<Published> {
        let mut results = Vec::with_capacity(incidents.len());
        for batch in incidents.chunks(MOST_FINDINGS) {
            let imported = self.import_batch(product_arn, batch).await;
            let is_failing = imported
                .iter()
                .any(|result| matches!(result, Published::Failed(_)));
            results.extend(imported);
            if is_failing {
                break;
            }
        }
        results.resize_with(incidents.len(), || Published::NotSent);
        results
    }

    /// When the call is refused because of its findings, each is imported alone, so that one does
    /// not take the others with it.
    async fn import_batch(&self, product_arn: &str, batch: &[&IncidentMessage]) -> Vec<Published> {
        let results = self.send(product_arn, batch).await;
        let are_refused = results
            .iter()
            .all(|result| matches!(result, Published::Refused(_)));
        if batch.len() < 2 || !are_refused {
            return results;
        }
        let mut alone = Vec::with_capacity(batch.len());
        for message in batch {
            alone.extend(self.send(product_arn, &[message]).await);
        }
        alone
    }

    async fn send(&self, product_arn: &str, batch: &[&IncidentMessage]) -> Vec<Published> {
        let findings = batch.iter();
        let findings: Vec<String> = findings
            .map(|message| asff::security_finding(message, product_arn))
            .collect();
        let request = ApiRequest {
            service: &SECURITY_HUB,
            region: ArnParts::parse(product_arn).map_or("", |arn| arn.region),
            method: "POST",
            path: "/findings/import",
            headers: vec![("content-type", "application/json".to_owned())],
            body: format!("{{\"Findings\":[{}]}}", findings.join(",")),
            failed: json::failed,
        };
        let answer = tokio::time::timeout(PATIENCE, self.client.send(&request)).await;
        match answer {
            Err(_) => batch
                .iter()
                .map(|_| Published::Failed(EntryError::Unsaid))
                .collect(),
            Ok(Err(why)) => batch.iter().map(|_| of_call(&why)).collect(),
            Ok(Ok(answer)) => match json::value(&answer) {
                Ok(answer) => of_answer(batch, answer),
                Err(why) => batch.iter().map(|_| of_call(&why)).collect(),
            },
        }
    }
}

/// What a failed call says of each of its findings.
fn of_call(why: &FailedCall) -> Published {
    of_error(EntryError::Call {
        code: why.code.clone(),
        message: why.message.clone(),
    })
}

fn of_error(error: EntryError) -> Published {
    match error.is_about_message() {
        true => Published::Refused(error),
        false => Published::Failed(error),
    }
}

/// What the answer says of each finding: the others were imported.
fn of_answer(batch: &[&IncidentMessage], answer: Value) -> Vec<Published> {
    let answer: ImportAnswer = serde_json::from_value(answer).unwrap_or_default();
    let results = batch.iter().map(|message| {
        let id = asff::finding_id(message);
        let failed = answer.failed_findings.iter();
        let failed = failed.rev().find(|failed| failed.id == id);
        match failed {
            None => Published::Accepted,
            Some(failed) => of_error(EntryError::Refused {
                code: failed.error_code.clone(),
                message: failed.error_message.clone(),
            }),
        }
    });
    results.collect()
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{state::contract, time::EventTime};
    use serde_json::json;

    use super::*;
    use crate::cause::FailureCause;

    #[test]
    fn only_the_product_of_an_account_is_a_destination() {
        for arn in [
            "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default",
            "arn:aws-us-gov:securityhub:us-gov-west-1:111122223333:product/111122223333/default",
        ] {
            assert!(is_product(arn), "{arn}");
        }
        for arn in [
            "arn:aws:securityhub:eu-west-1:111122223333:product/444455556666/default",
            "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
            "arn:aws:securityhub:eu-west-1:111122223333:hub/default",
            "arn:aws:securityhub::111122223333:product/111122223333/default",
            "arn:aws:sns:eu-west-1:111122223333:alerts",
        ] {
            assert!(!is_product(arn), "{arn}");
        }
    }

    #[test]
    fn each_finding_has_the_result_that_the_answer_gives_it() {
        let messages = ["ann", "bob", "eve"]
            .map(|name| IncidentMessage::new(contract::announced(name, 100), None, EventTime(100)));
        let batch: Vec<&IncidentMessage> = messages.iter().collect();
        let answer = json!({"FailedCount": 2, "SuccessCount": 1, "FailedFindings": [
            {"Id": asff::finding_id(batch[1]), "ErrorCode": "InvalidInput",
             "ErrorMessage": "Title is too long"},
            {"Id": asff::finding_id(batch[2]), "ErrorCode": "InternalFailure",
             "ErrorMessage": "try again"},
        ]});
        let results = of_answer(&batch, answer);
        assert!(matches!(results[0], Published::Accepted));
        assert!(matches!(results[1], Published::Refused(_)), "{results:?}");
        assert!(matches!(results[2], Published::Failed(_)), "{results:?}");
    }

    #[test]
    fn a_call_that_is_not_allowed_or_not_answered_is_a_failing_destination() {
        let result = |code: Option<&str>| {
            of_call(&FailedCall {
                code: code.map(str::to_owned),
                status: Some(400),
                retry: false,
                cause: FailureCause::Other,
                action: None,
                message: "it failed".to_owned(),
            })
        };
        // Security Hub is not enabled in the account.
        for code in [
            Some("InvalidAccessException"),
            Some("AccessDeniedException"),
            None,
        ] {
            assert!(matches!(result(code), Published::Failed(_)), "{code:?}");
        }
        let refused = result(Some("InvalidInputException"));
        assert!(matches!(refused, Published::Refused(_)));
    }
}
