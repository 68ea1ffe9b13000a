//! What the record of a change says about the versions of its secret.
//!
//! Sources: AWS Secrets Manager API reference (`PutSecretValue`, `UpdateSecret`,
//! `UpdateSecretVersionStage`, `RotateSecret`, `ReplicateSecretToRegions`) and user guide,
//! "CloudTrail entries for Secrets Manager"; AWS Systems Manager API reference (`PutParameter`,
//! `LabelParameterVersion`, `DeleteParameters`).

use crate::{
    document::JsonNode,
    ids::SharedStr,
    observation::{
        CallOutcome, EventHeader, VersionStep,
        change::{CURRENT, PREVIOUS},
    },
};

/// Parameters of `UpdateSecret` that change something else than the value.
const BESIDE_THE_VALUE: [&str; 3] = ["description", "kmsKeyId", "type"];

/// The secret of a service event, which has no request.
pub(super) fn service_target<'n>(record: &'n JsonNode<'_>) -> Option<&'n str> {
    let extra = record.get("additionalEventData")?;
    let named = extra.get("SecretId").or_else(|| extra.get("secretId"));
    named?.as_text()
}

/// The ARN of the secret that `CreateSecret` has made: the request has only its name. Its key has
/// been `arn` and `aRN`.
pub(super) fn created<'n>(record: &'n JsonNode<'_>) -> Option<&'n str> {
    let response = record.get("responseElements")?;
    let mut keys = ["arn", "aRN", "ARN"].into_iter();
    keys.find_map(|key| response.get(key)?.as_text())
}

/// The parameters that one `DeleteParameters` has deleted: those of the response, or else of the
/// request.
pub(super) fn deleted<'n>(record: &'n JsonNode<'_>) -> Vec<&'n str> {
    let response = record.get("responseElements");
    let done = response.and_then(|response| response.get("deletedParameters"));
    let asked = record.get("requestParameters");
    let names = done.or_else(|| asked.and_then(|request| request.get("names")));
    match names {
        Some(JsonNode::List(names)) => names.iter().filter_map(JsonNode::as_text).collect(),
        _ => Vec::new(),
    }
}

/// What a call does to the versions of its secret; nothing if it was denied or failed.
pub(super) fn version_steps(head: &EventHeader, record: &JsonNode<'_>) -> Vec<VersionStep> {
    let api = &*head.api;
    // The event of a failed rotation carries the error of the rotation.
    if api == "RotationFailed" || api == "RotationAbandoned" {
        return vec![VersionStep::RotationFailed];
    }
    if head.outcome != CallOutcome::Success {
        return Vec::new();
    }
    let call = CallFields::of(record);
    match api {
        "PutSecretValue" => call.put(),
        "CreateSecret" => call.create(),
        "UpdateSecret" => call.update(),
        "UpdateSecretVersionStage" => call.move_stage(),
        "PutParameter" => vec![current(call.response("version"))],
        "LabelParameterVersion" => call.label(),
        "RotateSecret" | "RotationStarted" => vec![VersionStep::RotationStarted {
            version_id: call.request("clientRequestToken"),
        }],
        "RotationSucceeded" => vec![VersionStep::Rotated],
        "DeleteSecret" | "DeleteParameter" | "DeleteParameters" => vec![VersionStep::Deleted],
        "RestoreSecret" => vec![VersionStep::Restored],
        "StopReplicationToReplica" => vec![VersionStep::Detached],
        _ => call.replicate(api),
    }
}

/// The step by which a version becomes current that replaces an unnamed one.
fn current(version_id: Option<SharedStr>) -> VersionStep {
    VersionStep::Current {
        version_id,
        instead_of: None,
    }
}

/// The fields of a call.
#[derive(Clone, Copy)]
struct CallFields<'n, 'a> {
    request: Option<&'n JsonNode<'a>>,
    response: Option<&'n JsonNode<'a>>,
}

impl<'n, 'a> CallFields<'n, 'a> {
    fn of(record: &'n JsonNode<'a>) -> Self {
        Self {
            request: record.get("requestParameters"),
            response: record.get("responseElements"),
        }
    }

    fn request(self, key: &str) -> Option<SharedStr> {
        text(self.request?.get(key)?)
    }

    /// Whether the request has a parameter, be it empty.
    fn asks_for(self, key: &str) -> bool {
        self.request
            .is_some_and(|request| request.get(key).is_some())
    }

    fn response(self, key: &str) -> Option<SharedStr> {
        text(self.response?.get(key)?)
    }

    /// The version that the call has made; the token of the request is its id.
    fn made(self) -> Option<SharedStr> {
        self.response("versionId")
            .or_else(|| self.request("clientRequestToken"))
    }

    fn put(self) -> Vec<VersionStep> {
        let labels = self.texts("versionStages");
        let version_id = self.made();
        let is_current = labels.is_empty() || labels.iter().any(|label| &**label == CURRENT);
        let others: Vec<SharedStr> = labels
            .into_iter()
            .filter(|label| &**label != CURRENT)
            .collect();
        let mut steps = Vec::new();
        if is_current {
            steps.push(current(version_id.clone()));
        }
        if !others.is_empty() {
            steps.push(VersionStep::Labelled {
                version_id,
                labels: others,
            });
        }
        steps
    }

    fn create(self) -> Vec<VersionStep> {
        let mut steps = vec![current(self.made())];
        steps.extend(self.added_replicas());
        steps
    }

    fn update(self) -> Vec<VersionStep> {
        let made = self.response("versionId");
        let mut beside = BESIDE_THE_VALUE.iter();
        let answers = ["arn", "ARN", "aRN"];
        let is_silent = answers.iter().any(|key| self.response(key).is_some());
        // A call that changes nothing else has changed the value, which is not in the record; an
        // answer would name its version.
        if made.is_some() || !is_silent && !beside.any(|key| self.asks_for(key)) {
            return vec![current(self.made())];
        }
        vec![VersionStep::MayBeCurrent {
            version_id: self.request("clientRequestToken"),
        }]
    }

    fn move_stage(self) -> Vec<VersionStep> {
        let Some(version_id) = self.request("moveToVersionId") else {
            // Without a target, a label is only taken away, which `AWSCURRENT` cannot be.
            let stage = self.request("versionStage");
            let taken = stage.filter(|stage| &**stage == PREVIOUS);
            return taken
                .map(|stage| VersionStep::Labelled {
                    version_id: None,
                    labels: vec![stage],
                })
                .into_iter()
                .collect();
        };
        match self.request("versionStage") {
            Some(stage) if &*stage == CURRENT => vec![VersionStep::Current {
                version_id: Some(version_id),
                instead_of: self.request("removeFromVersionId"),
            }],
            Some(stage) => vec![VersionStep::Labelled {
                version_id: Some(version_id),
                labels: vec![stage],
            }],
            None => Vec::new(),
        }
    }

    fn label(self) -> Vec<VersionStep> {
        let asked = self.request("parameterVersion");
        vec![VersionStep::Labelled {
            version_id: self.response("parameterVersion").or(asked),
            labels: self.texts("labels"),
        }]
    }

    fn replicate(self, api: &str) -> Vec<VersionStep> {
        match api {
            "ReplicateSecretToRegions" => self.added_replicas().into_iter().collect(),
            "RemoveRegionsFromReplication" => vec![VersionStep::Unreplicated {
                places: self.texts("removeReplicaRegions"),
            }],
            "AssociateCrossAccountReplica" | "DisassociateCrossAccountReplica" => {
                let places: Vec<SharedStr> =
                    self.request("crossAccountReplicaARN").into_iter().collect();
                if api.starts_with('A') {
                    vec![VersionStep::Replicated { places }]
                } else {
                    vec![VersionStep::Unreplicated { places }]
                }
            }
            _ => Vec::new(),
        }
    }

    /// `addReplicaRegions[].region`; `None` without any.
    fn added_replicas(self) -> Option<VersionStep> {
        let JsonNode::List(added) = self.request?.get("addReplicaRegions")? else {
            return None;
        };
        let regions = added.iter().filter_map(|place| text(place.get("region")?));
        Some(VersionStep::Replicated {
            places: regions.collect(),
        })
    }

    /// A list of texts in the request.
    fn texts(self, key: &str) -> Vec<SharedStr> {
        match self.request.and_then(|request| request.get(key)) {
            Some(JsonNode::List(items)) => items.iter().filter_map(text).collect(),
            _ => Vec::new(),
        }
    }
}

/// The text of a scalar; `None` for others and for empty text.
fn text(node: &JsonNode<'_>) -> Option<SharedStr> {
    match node {
        JsonNode::Str(text) if !text.is_empty() => Some((&**text).into()),
        JsonNode::Int(number) => Some(number.to_string().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::head;

    fn steps(api: &str, fields: &str) -> Vec<VersionStep> {
        let node = JsonNode::parse(fields).unwrap();
        version_steps(&head("e", api, 0), &node)
    }

    fn stored(version_id: Option<&str>) -> Vec<VersionStep> {
        vec![current(version_id.map(Into::into))]
    }

    #[test]
    fn a_new_value_is_current_unless_it_gets_other_stages() {
        let put = |stages: &str| {
            let request = format!(r#"{{"clientRequestToken":"v2","versionStages":{stages}}}"#);
            steps(
                "PutSecretValue",
                &format!(r#"{{"requestParameters":{request}}}"#),
            )
        };
        let labelled = |label: &str| VersionStep::Labelled {
            version_id: Some("v2".into()),
            labels: vec![label.into()],
        };
        assert_eq!(put("null"), stored(Some("v2")));
        assert_eq!(put(r#"["AWSCURRENT"]"#), stored(Some("v2")));
        assert_eq!(put(r#"["AWSPENDING"]"#), [labelled("AWSPENDING")]);
        let both = [stored(Some("v2")), vec![labelled("blue")]].concat();
        assert_eq!(put(r#"["AWSCURRENT","blue"]"#), both);
        assert_eq!(
            steps("PutSecretValue", r#"{"requestParameters":{}}"#),
            stored(None)
        );
    }

    #[test]
    fn an_update_has_a_new_value_if_it_changes_nothing_else() {
        let update = |fields: &str| steps("UpdateSecret", fields);
        let bare = r#"{"requestParameters":{"secretId":"x","clientRequestToken":"v2"}}"#;
        assert_eq!(update(bare), stored(Some("v2")));
        let more = r#"{"requestParameters":{"clientRequestToken":"v2","kmsKeyId":"k"}}"#;
        let unsure = VersionStep::MayBeCurrent {
            version_id: Some("v2".into()),
        };
        assert_eq!(update(more), [unsure]);
        let said = r#"{"requestParameters":{"description":"d"},
            "responseElements":{"versionId":"v3"}}"#;
        assert_eq!(update(said), stored(Some("v3")));
        // An answer that names the secret would name a version, if there were a new one.
        let silent = r#"{"requestParameters":{"clientRequestToken":"v2"},
            "responseElements":{"arn":"a","name":"x"}}"#;
        assert!(matches!(
            update(silent)[..],
            [VersionStep::MayBeCurrent { .. }]
        ));
    }

    #[test]
    fn only_a_move_of_the_current_stage_changes_what_is_current() {
        let moved = |stage: &str| {
            let fields = format!(
                r#"{{"requestParameters":{{"versionStage":"{stage}","moveToVersionId":"v2",
                "removeFromVersionId":"v1"}}}}"#
            );
            steps("UpdateSecretVersionStage", &fields)
        };
        let current = VersionStep::Current {
            version_id: Some("v2".into()),
            instead_of: Some("v1".into()),
        };
        assert_eq!(moved("AWSCURRENT"), [current]);
        assert!(matches!(
            moved("AWSPREVIOUS")[..],
            [VersionStep::Labelled { .. }]
        ));
        let taken = r#"{"requestParameters":{"versionStage":"AWSPENDING",
            "removeFromVersionId":"v1"}}"#;
        assert!(steps("UpdateSecretVersionStage", taken).is_empty());
        let previous = taken.replace("PENDING", "PREVIOUS");
        let gone = VersionStep::Labelled {
            version_id: None,
            labels: vec!["AWSPREVIOUS".into()],
        };
        assert_eq!(steps("UpdateSecretVersionStage", &previous), [gone]);
    }

    #[test]
    fn parameters_have_numbers_and_labels() {
        let put = r#"{"responseElements":{"version":4,"tier":"Standard"}}"#;
        assert_eq!(steps("PutParameter", put), stored(Some("4")));
        let label = r#"{"requestParameters":{"name":"/x","labels":["live"]},
            "responseElements":{"parameterVersion":3}}"#;
        let labelled = VersionStep::Labelled {
            version_id: Some("3".into()),
            labels: vec!["live".into()],
        };
        assert_eq!(steps("LabelParameterVersion", label), [labelled]);
        let done = r#"{"requestParameters":{"names":["/a","/b"]},
            "responseElements":{"deletedParameters":["/b"],"invalidParameters":["/a"]}}"#;
        assert_eq!(deleted(&JsonNode::parse(done).unwrap()), ["/b"]);
    }

    #[test]
    fn replicas_are_named_by_region_or_arn() {
        let regions = r#"{"requestParameters":{"clientRequestToken":"v1",
            "addReplicaRegions":[{"region":"us-east-1"},{"region":"sa-east-1"}]}}"#;
        let replicated = VersionStep::Replicated {
            places: vec!["us-east-1".into(), "sa-east-1".into()],
        };
        assert_eq!(
            steps("ReplicateSecretToRegions", regions),
            std::slice::from_ref(&replicated)
        );
        let created = [stored(Some("v1")), vec![replicated]].concat();
        assert_eq!(steps("CreateSecret", regions), created);
        let arn = r#"{"requestParameters":{"crossAccountReplicaARN":"arn:aws:x"}}"#;
        let places = vec!["arn:aws:x".into()];
        assert_eq!(
            steps("AssociateCrossAccountReplica", arn),
            [VersionStep::Replicated {
                places: places.clone()
            }]
        );
        assert_eq!(
            steps("DisassociateCrossAccountReplica", arn),
            [VersionStep::Unreplicated { places }]
        );
    }

    #[test]
    fn what_was_denied_or_failed_changes_nothing() {
        let node = JsonNode::parse(r#"{"requestParameters":{"clientRequestToken":"v2"}}"#).unwrap();
        for outcome in [CallOutcome::Denied, CallOutcome::Failed] {
            for api in ["PutSecretValue", "DeleteSecret", "RotateSecret"] {
                let mut head = head("e", api, 0);
                head.outcome = outcome;
                assert!(version_steps(&head, &node).is_empty(), "{api}");
            }
            let mut head = head("e", "RotationFailed", 0);
            head.outcome = outcome;
            assert_eq!(version_steps(&head, &node), [VersionStep::RotationFailed]);
        }
    }

    #[test]
    fn a_service_event_names_its_secret_beside_the_request() {
        let event = r#"{"requestParameters":null,"additionalEventData":{"SecretId":"arn:x"}}"#;
        assert_eq!(
            service_target(&JsonNode::parse(event).unwrap()),
            Some("arn:x")
        );
        assert_eq!(service_target(&JsonNode::Null), None);
    }
}
