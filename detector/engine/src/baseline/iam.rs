//! The least privilege that reads show: for each role and user an identity policy, and for each
//! secret a resource policy, as drafts for their owners.
//!
//! Sources: IAM user guide, "IAM JSON policy elements"; KMS developer guide, `kms:ViaService` and
//! `kms:EncryptionContext:context-key`; Secrets Manager user guide, "Permissions policy examples".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    access::AccessMethod,
    baseline::pairs::{ReadPair, ReadPairs, SecretTarget},
    ids::{ArnParts, SecretStore, SharedStr},
};

/// `schema` of a draft.
const SCHEMA: &str = "secretrail.iam_draft/1";

/// Characters without white space that a managed policy of IAM may have.
const MANAGED_POLICY: usize = 6_144;

/// What the principals of an account do with its secrets.
#[derive(Debug, Default)]
struct IdentityDraft {
    /// Actions by resource.
    actions: BTreeMap<String, BTreeSet<&'static str>>,
    /// Secrets and parameters by store, region and key.
    decrypts: BTreeMap<(SecretStore, SharedStr, SharedStr), BTreeSet<String>>,
}

/// Drafts of policies as JSON: `identity_policies` (`principal`, `characters`, `policy`, `note`),
/// `resource_policies` (`secret`, `policy`) and `left_out` (`principal` or `secret`, `why`).
pub(super) fn drafts(pairs: &ReadPairs) -> Value {
    let mut identities: BTreeMap<SharedStr, IdentityDraft> = BTreeMap::new();
    let mut readers: BTreeMap<String, BTreeSet<SharedStr>> = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (principal, secrets) in pairs {
        for (target, pair) in secrets {
            let Some(identity) = pair.identity.clone().filter(|id| is_identity(id)) else {
                left_out.insert(("principal", principal.to_string(), NO_IDENTITY));
                continue;
            };
            if !is_plain(&target.name) {
                left_out.insert(("secret", target.name.to_string(), NO_NAME));
                continue;
            }
            let draft = identities.entry(identity.clone()).or_default();
            for region in pair.regions.keys() {
                let arn = arn_of(target, region);
                draft.add(target, pair, region, &arn);
                if target.store == SecretStore::SecretsManager {
                    readers.entry(arn).or_default().insert(identity.clone());
                }
            }
        }
    }
    let left_out = left_out.into_iter();
    json!({
        "schema": SCHEMA,
        "identity_policies": identities.iter().map(identity_policy).collect::<Vec<_>>(),
        "resource_policies": readers.iter().map(resource_policy).collect::<Vec<_>>(),
        "left_out": left_out
            .map(|(what, name, why)| json!({what: name, "why": why}))
            .collect::<Vec<_>>(),
    })
}

const NO_IDENTITY: &str = "no role or user of IAM: a policy cannot name it";
const NO_NAME: &str = "a name that no secret or parameter can have";

/// Whether a policy can be attached to a principal.
fn is_identity(id: &str) -> bool {
    let arn = ArnParts::parse(id).filter(|arn| arn.service == "iam");
    let Some(ArnParts { resource, .. }) = arn else {
        return false;
    };
    let is_kind = resource.starts_with("role/") || resource.starts_with("user/");
    is_kind
        && id
            .chars()
            .all(|c| c.is_ascii_graphic() && !"*?$\"\\".contains(c))
}

/// Whether a name has only characters that AWS allows in it: anything else, as `${…}`, would have a
/// meaning in a policy.
fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c))
}

/// The ARN of a secret or parameter in a region; of a secret, with any random suffix.
fn arn_of(target: &SecretTarget, region: &str) -> String {
    let SecretTarget {
        partition,
        account,
        store,
        name,
    } = target;
    match store {
        SecretStore::SecretsManager => {
            format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-??????")
        }
        SecretStore::Ssm => {
            let name = name.trim_start_matches('/');
            format!("arn:{partition}:ssm:{region}:{account}:parameter/{name}")
        }
    }
}

impl IdentityDraft {
    fn add(&mut self, target: &SecretTarget, pair: &ReadPair, region: &SharedStr, arn: &str) {
        for method in &pair.methods {
            for (action, resource) in actions(target.store, *method, arn) {
                self.actions.entry(resource).or_default().insert(action);
            }
        }
        for key in pair.keys.keys() {
            // A key is in the region of the secret that it encrypts.
            if ArnParts::parse(key).is_none_or(|arn| arn.region != &**region) {
                continue;
            }
            let place = (target.store, region.clone(), key.clone());
            let secrets = self.decrypts.entry(place).or_default();
            secrets.insert(arn.to_owned());
        }
    }

    /// The statements: actions with the resources that share them, and one for each key.
    fn statements(&self) -> Vec<Value> {
        let mut by_actions: BTreeMap<&BTreeSet<&str>, Vec<&String>> = BTreeMap::new();
        for (resource, actions) in &self.actions {
            by_actions.entry(actions).or_default().push(resource);
        }
        let reads = by_actions.into_iter().map(|(actions, resources)| {
            json!({"Effect": "Allow", "Action": actions, "Resource": resources})
        });
        let decrypts = self.decrypts.iter().map(|((store, region, key), secrets)| {
            let (service, context) = match store {
                SecretStore::SecretsManager => ("secretsmanager", "SecretARN"),
                SecretStore::Ssm => ("ssm", "PARAMETER_ARN"),
            };
            json!({
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": key,
                "Condition": {
                    "StringEquals": {"kms:ViaService": via(service, region, key)},
                    "StringLike": {format!("kms:EncryptionContext:{context}"): secrets},
                },
            })
        });
        reads.chain(decrypts).collect()
    }
}

/// The host name by which a service calls KMS.
fn via(service: &str, region: &str, key: &str) -> Vec<String> {
    let host = format!("{service}.{region}.amazonaws.com");
    match key.starts_with("arn:aws-cn:") {
        true => vec![format!("{host}.cn"), host],
        false => vec![host],
    }
}

/// The actions that a method needs, each with its resource.
fn actions(store: SecretStore, method: AccessMethod, arn: &str) -> Vec<(&'static str, String)> {
    let arn = arn.to_owned();
    match (store, method) {
        (SecretStore::SecretsManager, AccessMethod::Batch) => vec![
            ("secretsmanager:GetSecretValue", arn),
            // It knows no resources; each secret is checked by itself.
            ("secretsmanager:BatchGetSecretValue", "*".to_owned()),
        ],
        (SecretStore::SecretsManager, _) => vec![("secretsmanager:GetSecretValue", arn)],
        // IAM checks the path that is asked for, which ends where a folder does.
        (SecretStore::Ssm, AccessMethod::ByPath) => {
            let path = arn.rsplit_once('/').map_or(&*arn, |(path, _)| path);
            vec![("ssm:GetParametersByPath", path.to_owned())]
        }
        (SecretStore::Ssm, AccessMethod::History) => vec![("ssm:GetParameterHistory", arn)],
        (SecretStore::Ssm, _) => vec![
            ("ssm:GetParameter", arn.clone()),
            ("ssm:GetParameters", arn),
        ],
    }
}

fn identity_policy((principal, draft): (&SharedStr, &IdentityDraft)) -> Value {
    let policy = document(&draft.statements());
    // As IAM counts: names and ARNs have no white space.
    let characters = policy
        .to_string()
        .chars()
        .filter(|c| !c.is_whitespace())
        .count();
    let note = if principal.contains(":role/aws-reserved/sso.amazonaws.com/") {
        Some("a role of IAM Identity Center: put it into the permission set, as its inline policy")
    } else if characters > MANAGED_POLICY {
        Some("more characters than a managed policy may have (6,144): use several, or tags")
    } else {
        None
    };
    json!({"principal": principal, "characters": characters, "note": note, "policy": policy})
}

fn resource_policy((secret, readers): (&String, &BTreeSet<SharedStr>)) -> Value {
    let statement = json!({
        "Effect": "Allow",
        "Principal": {"AWS": readers},
        "Action": "secretsmanager:GetSecretValue",
        "Resource": secret,
    });
    json!({"secret": secret, "policy": document(&[statement])})
}

fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        baseline::{BaselineOptions, pairs::read_by, propose},
        principal::Principal,
    };

    const ROLE: &str = "arn:aws:iam::1:role/app";

    fn drafted(accesses: Vec<crate::access::Access>) -> Value {
        let accesses: Vec<_> = accesses.into_iter().map(Arc::new).collect();
        let options = BaselineOptions {
            drafts_iam: true,
            ..BaselineOptions::default()
        };
        propose(&accesses, None, options).iam.unwrap()
    }

    #[test]
    fn a_role_may_read_what_it_read_and_decrypt_for_that_alone() {
        let mut read = read_by(ROLE, "prod/db", 10);
        let key = "arn:aws:kms:eu-west-1:1:key/k";
        read.decrypt.key_arn = Some(key.into());
        let drafts = drafted(vec![read, read_by(ROLE, "prod/api", 90_000)]);
        let secret =
            |name: &str| format!("arn:aws:secretsmanager:eu-west-1:1:secret:{name}-??????");
        let (api, db) = (secret("prod/api"), secret("prod/db"));
        assert_eq!(
            drafts["identity_policies"][0]["policy"]["Statement"],
            json!([
                {
                    "Effect": "Allow",
                    "Action": ["secretsmanager:GetSecretValue"],
                    "Resource": [api, db],
                },
                {
                    "Effect": "Allow",
                    "Action": "kms:Decrypt",
                    "Resource": key,
                    "Condition": {
                        "StringEquals": {
                            "kms:ViaService": ["secretsmanager.eu-west-1.amazonaws.com"]
                        },
                        "StringLike": {"kms:EncryptionContext:SecretARN": [db]},
                    },
                },
            ])
        );
        let resource = &drafts["resource_policies"][1];
        assert_eq!(resource["secret"], json!(db));
        let reader = &resource["policy"]["Statement"][0]["Principal"]["AWS"];
        assert_eq!(reader, &json!([ROLE]));
        assert_eq!(drafts["left_out"], json!([]));
    }

    #[test]
    fn actions_are_those_of_the_methods() {
        let arn = "arn:aws:ssm:eu-west-1:1:parameter/prod/db/password";
        let of = |store, method, arn: &str| actions(store, method, arn);
        let by_path = of(SecretStore::Ssm, AccessMethod::ByPath, arn);
        let path = "arn:aws:ssm:eu-west-1:1:parameter/prod/db".to_owned();
        assert_eq!(by_path, [("ssm:GetParametersByPath", path)]);
        let batch = of(SecretStore::SecretsManager, AccessMethod::Batch, "x");
        let all = "secretsmanager:BatchGetSecretValue";
        assert!(batch.contains(&(all, "*".to_owned())));
    }

    #[test]
    fn who_has_no_policy_and_what_has_no_name_is_left_out_with_the_reason() {
        let drafts = drafted(vec![
            read_by("rds.amazonaws.com", "db", 10),
            read_by(ROLE, "${aws:username}", 10),
        ]);
        assert_eq!(drafts["identity_policies"], json!([]));
        let left_out = json!([
            {"principal": "rds.amazonaws.com", "why": NO_IDENTITY},
            {"secret": "${aws:username}", "why": NO_NAME},
        ]);
        assert_eq!(drafts["left_out"], left_out);
    }

    #[test]
    fn a_person_is_drafted_with_the_role_and_a_note() {
        let role = "arn:aws:iam::1:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0";
        let mut read = read_by(&format!("{role}/ana@example.com"), "db", 10);
        let mut head = (*read.head).clone();
        head.principal = Arc::new(Principal {
            session: Some("ana@example.com".into()),
            name: Some("AWSReservedSSO_Admin_0".into()),
            ..(*head.principal).clone()
        });
        read.head = Arc::new(head);
        let drafts = drafted(vec![read]);
        let draft = &drafts["identity_policies"][0];
        assert_eq!(draft["principal"], json!(role));
        assert!(draft["note"].as_str().unwrap().contains("permission set"));
    }

    #[test]
    fn a_policy_that_is_too_long_says_so() {
        let reads = (0..100).map(|n| read_by(ROLE, &format!("prod/service-{n:03}"), n * 90_000));
        let drafts = drafted(reads.collect());
        let draft = &drafts["identity_policies"][0];
        assert!(draft["characters"].as_u64().unwrap() > 6_144);
        assert!(draft["note"].as_str().unwrap().contains("6,144"));
    }
}
