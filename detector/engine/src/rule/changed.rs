//! What a change does, from the fields of its record: what a policy opens, and which events a trail
//! still logs.

use std::cell::OnceCell;

use crate::{
    document::JsonNode,
    event_selectors::{ManagementEvents, SelectorOwner},
    ids::{ArnParts, SecretRef},
    observation::EventHeader,
    policy::{AccessPolicy, ReplicaPlace},
    resource_policy::{OwnAccounts, PolicyReach},
};

/// Fields of the record from which `policy.*` is derived.
pub(super) const POLICY_FIELDS: [&str; 11] = [
    "requestParameters.resourcePolicy",
    "requestParameters.policy",
    "requestParameters.granteePrincipal",
    "requestParameters.operations",
    "requestParameters.principals",
    "requestParameters.resourceArns",
    "requestParameters.blockPublicPolicy",
    REPLICA,
    REPLICA_REGIONS,
    "requestParameters.kmsKeyId",
    "requestParameters.keyId",
];

const REPLICA: &str = "requestParameters.crossAccountReplicaARN";
const REPLICA_REGIONS: &str = "requestParameters.addReplicaRegions";

/// Fields of the record from which `trail.*` is derived.
pub(super) const SELECTOR_FIELDS: [&str; 2] = [
    "requestParameters.eventSelectors",
    "requestParameters.advancedEventSelectors",
];

/// Field of the record that lists the names of parameters.
pub(super) const NAMES: [&str; 1] = ["requestParameters.names"];

/// Operations of a KMS grant that reveal what a key protects, or let the grantee allow them.
const REVEALING: [&str; 3] = ["Decrypt", "ReEncryptFrom", "CreateGrant"];

/// A change, and the access policy that says which accounts are one's own.
pub(super) struct ChangeSubject<'a> {
    pub(super) head: &'a EventHeader,
    /// The secret; `None` for a change that names none.
    pub(super) secret: Option<&'a SecretRef>,
    /// The access policy; `None` without one.
    pub(super) policy: Option<&'a AccessPolicy>,
}

/// What the policy in a record allows: read once, whatever rules ask of it.
#[derive(Debug, Default)]
pub struct ChangedPolicy(OnceCell<Option<PolicyReach>>);

impl ChangedPolicy {
    /// What the policy, the grant or the share allows; `None` for other changes.
    pub(super) fn reach(&self, subject: &ChangeSubject<'_>) -> Option<&PolicyReach> {
        self.0.get_or_init(|| reach(subject)).as_ref()
    }
}

fn reach(subject: &ChangeSubject<'_>) -> Option<PolicyReach> {
    let ChangeSubject { head, secret, .. } = subject;
    let trusts = |account: &str| trusts(subject, account);
    let ours = OwnAccounts {
        owner: secret.map_or(&head.account, |secret| &secret.account),
        trusts: &trusts,
    };
    let document = || {
        kept(head, "requestParameters.resourcePolicy")
            .or_else(|| kept(head, "requestParameters.policy"))
    };
    match &*head.api {
        "PutResourcePolicy" | "CreateSecret" | "PutKeyPolicy" | "CreateKey" => {
            document().map(|document| PolicyReach::of_document(document, &ours))
        }
        "CreateGrant" => {
            let grantee = kept(head, "requestParameters.granteePrincipal")?;
            let operations = kept(head, "requestParameters.operations");
            let reveals = operations.is_none_or(|operations| {
                operations.any_string(&|operation| REVEALING.contains(&operation))
            });
            Some(PolicyReach::of_principals(grantee, reveals, &ours))
        }
        "CreateResourceShare" | "AssociateResourceShare" => {
            // Other resources are shared in the same way.
            let resources = kept(head, "requestParameters.resourceArns")?;
            if !resources.any_string(&|arn| arn.contains(":parameter/")) {
                return None;
            }
            // With whom, another call says: principals may be added before and after.
            let principals = kept(head, "requestParameters.principals");
            let principals =
                principals.filter(|list| !matches!(list, JsonNode::List(list) if list.is_empty()));
            Some(match principals {
                Some(principals) => PolicyReach::of_principals(principals, true, &ours),
                None => PolicyReach::undecided(),
            })
        }
        _ => None,
    }
}

/// Whether an account is one's own.
fn trusts(subject: &ChangeSubject<'_>, account: &str) -> bool {
    account == &*subject.head.account || subject.policy.is_some_and(|policy| policy.trusts(account))
}

/// The other account to which a secret is replicated from now on.
pub(super) fn replica_account(subject: &ChangeSubject<'_>) -> Option<String> {
    other_account(subject, REPLICA)
}

/// Whether the access policy allows every replica that a change makes of a secret. False where it
/// is not known to where.
pub(super) fn allows_replicas(subject: &ChangeSubject<'_>) -> bool {
    let Some((policy, secret)) = subject.policy.zip(subject.secret) else {
        return false;
    };
    let places = replica_places(subject.head, &secret.account);
    places.is_some_and(|places| {
        let mut places = places.into_iter();
        places.len() > 0 && places.all(|place| policy.allows_replica(secret, place))
    })
}

/// To where a change replicates a secret of an account; `None` where that cannot be read.
fn replica_places<'h>(head: &'h EventHeader, owner: &'h str) -> Option<Vec<ReplicaPlace<'h>>> {
    if let Some(copy) = kept(head, REPLICA) {
        let ArnParts {
            account, region, ..
        } = ArnParts::parse(copy.as_text()?)?;
        return Some(vec![ReplicaPlace { account, region }]);
    }
    // `[{"region": "eu-central-1", "kmsKeyId": "…"}]`.
    let JsonNode::List(regions) = kept(head, REPLICA_REGIONS)? else {
        return None;
    };
    let places = regions.iter().map(|one| {
        Some(ReplicaPlace {
            account: owner,
            region: one.get("region")?.as_text()?,
        })
    });
    places.collect()
}

/// The other account that owns the key with which a secret or parameter is encrypted from now on.
pub(super) fn key_account(subject: &ChangeSubject<'_>) -> Option<String> {
    let field = match &*subject.head.api {
        "CreateSecret" | "UpdateSecret" => "requestParameters.kmsKeyId",
        "PutParameter" => "requestParameters.keyId",
        _ => return None,
    };
    other_account(subject, field)
}

/// The account in an ARN, if it is not one's own.
fn other_account(subject: &ChangeSubject<'_>, field: &str) -> Option<String> {
    let arn = kept(subject.head, field)?.as_text()?;
    let account = ArnParts::parse(arn)?.account;
    (!trusts(subject, account)).then(|| account.to_owned())
}

/// `blockPublicPolicy` of a request.
pub(super) fn blocks_public(head: &EventHeader) -> Option<bool> {
    match kept(head, "requestParameters.blockPublicPolicy")? {
        JsonNode::Bool(blocks) => Some(*blocks),
        JsonNode::Str(text) => text.parse().ok(),
        _ => None,
    }
}

/// How many parameters a change names in a list.
pub(super) fn names(head: &EventHeader) -> Option<i64> {
    let [names] = NAMES;
    match kept(head, names)? {
        JsonNode::List(names) => i64::try_from(names.len()).ok(),
        _ => None,
    }
}

/// Which management events a change of event selectors leaves.
pub(super) fn management_events(head: &EventHeader) -> Option<ManagementEvents> {
    let [basic, advanced] = SELECTOR_FIELDS.map(|name| kept(head, name));
    let of = match &*head.api {
        "PutEventSelectors" => SelectorOwner::Trail,
        _ => SelectorOwner::DataStore,
    };
    ManagementEvents::selected(basic, advanced, of)
}

fn kept<'h>(head: &'h EventHeader, name: &str) -> Option<&'h JsonNode<'static>> {
    let node = head.kept.get(name)?;
    (*node != JsonNode::Null).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access, ids::RecordHome};

    fn subject(head: &EventHeader) -> ChangeSubject<'_> {
        ChangeSubject {
            head,
            secret: None,
            policy: None,
        }
    }

    fn head(api: &str, fields: &[(&str, &str)]) -> EventHeader {
        let mut head = (*access::sample().head).clone();
        head.api = api.into();
        let fields = fields.iter().map(|(name, json)| {
            let name = format!("requestParameters.{name}");
            (name.into(), JsonNode::parse(json).unwrap().into_owned())
        });
        head.kept.fields = fields.collect();
        head
    }

    fn opens(api: &str, fields: &[(&str, &str)]) -> Option<&'static str> {
        let head = head(api, fields);
        let subject = subject(&head);
        ChangedPolicy::default()
            .reach(&subject)
            .map(|reach| reach.opens.as_str())
    }

    #[test]
    fn each_call_has_its_policy_in_its_field() {
        let public = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}"#;
        assert_eq!(
            opens("PutResourcePolicy", &[("resourcePolicy", public)]),
            Some("public")
        );
        assert_eq!(opens("PutKeyPolicy", &[("policy", public)]), Some("public"));
        assert_eq!(opens("CreateKey", &[]), None);
        assert_eq!(opens("UpdateTrail", &[("policy", public)]), None);
        let grantee = ("granteePrincipal", r#""arn:aws:iam::999988887777:role/x""#);
        assert_eq!(opens("CreateGrant", &[grantee]), Some("foreign_account"));
        let shared = ("principals", r#"["111122223333"]"#);
        let parameter = (
            "resourceArns",
            r#"["arn:aws:ssm:eu-west-1:111122223333:parameter/x"]"#,
        );
        assert_eq!(
            opens("AssociateResourceShare", &[shared, parameter]),
            Some("nobody")
        );
        let subnet = (
            "resourceArns",
            r#"["arn:aws:ec2:eu-west-1:111122223333:subnet/x"]"#,
        );
        assert_eq!(opens("CreateResourceShare", &[shared, subnet]), None);
        let nobody_yet = ("principals", "[]");
        for fields in [&[parameter][..], &[parameter, nobody_yet]] {
            assert_eq!(opens("CreateResourceShare", fields), Some("unknown"));
        }
    }

    #[test]
    fn a_grant_that_only_encrypts_reveals_nothing() {
        let grantee = ("granteePrincipal", r#""999988887777""#);
        let reads = |operations: &str| {
            let head = head("CreateGrant", &[grantee, ("operations", operations)]);
            let subject = subject(&head);
            ChangedPolicy::default().reach(&subject).unwrap().reads
        };
        assert_eq!(reads(r#"["Encrypt","GenerateDataKey"]"#), Some(false));
        assert_eq!(reads(r#"["Encrypt","Decrypt"]"#), Some(true));
    }

    #[test]
    fn a_key_is_foreign_by_the_account_in_its_arn() {
        let of = |api: &str, field: &str, key: &str| {
            let head = head(api, &[(field, &format!("\"{key}\""))]);
            key_account(&subject(&head))
        };
        let other = "arn:aws:kms:eu-west-1:999988887777:key/1";
        assert_eq!(
            of("UpdateSecret", "kmsKeyId", other).as_deref(),
            Some("999988887777")
        );
        assert_eq!(
            of("PutParameter", "keyId", other).as_deref(),
            Some("999988887777")
        );
        for ours in [
            "arn:aws:kms:eu-west-1:111122223333:key/1",
            "alias/mine",
            "1",
        ] {
            assert_eq!(of("UpdateSecret", "kmsKeyId", ours), None, "{ours}");
        }
        assert_eq!(of("DisableKey", "keyId", other), None);
    }

    #[test]
    fn the_names_in_a_list_are_counted() {
        let of = |json: &str| names(&head("DeleteParameters", &[("names", json)]));
        assert_eq!(
            (of(r#"["/a","/b"]"#), of("[]"), of(r#""/a""#)),
            (Some(2), Some(0), None)
        );
    }

    #[test]
    fn replicas_are_allowed_where_each_of_them_is() {
        let policy: AccessPolicy = "version: 1
replicas:
  - secrets: [\"arn:aws:secretsmanager:*:111122223333:secret:*\"]
    regions: [eu-central-1, eu-west-2]
    accounts: [\"222233334444\"]
grants: []
"
        .parse()
        .unwrap();
        let secret = SecretRef::secret(
            "prod/db",
            RecordHome {
                account: "111122223333",
                region: "eu-west-1",
                partition: "aws",
            },
        );
        let of = |field: &str, json: &str| {
            let head = head("ReplicateSecretToRegions", &[(field, json)]);
            allows_replicas(&ChangeSubject {
                head: &head,
                secret: Some(&secret),
                policy: Some(&policy),
            })
        };
        let copy = |region: &str, account: &str| {
            let arn = format!("\"arn:aws:secretsmanager:{region}:{account}:secret:x-AbC123\"");
            of("crossAccountReplicaARN", &arn)
        };
        let regions = |json: &str| of("addReplicaRegions", json);
        assert!(regions(r#"[{"region":"eu-central-1"}]"#));
        assert!(regions(
            r#"[{"region":"eu-central-1"},{"region":"eu-west-2"}]"#
        ));
        for other in [
            r#"[{"region":"eu-central-1"},{"region":"sa-east-1"}]"#,
            r#"[{"region":"eu-central-1"},{}]"#,
            r#""eu-central-1""#,
            "[]",
        ] {
            assert!(!regions(other), "{other}");
        }
        assert!(copy("eu-west-2", "222233334444"));
        assert!(!copy("sa-east-1", "222233334444"));
        assert!(!copy("eu-west-2", "999988887777"));
        assert!(!of("crossAccountReplicaARN", "\"x\""));
    }

    #[test]
    fn a_replica_of_ones_own_account_is_not_foreign() {
        let of = |account: &str| {
            let arn = format!(r#""arn:aws:secretsmanager:eu-west-1:{account}:secret:x-AbC123""#);
            let head = head(
                "AssociateCrossAccountReplica",
                &[("crossAccountReplicaARN", &arn)],
            );
            replica_account(&subject(&head))
        };
        assert_eq!(of("999988887777").as_deref(), Some("999988887777"));
        assert_eq!(of("111122223333"), None);
    }
}
