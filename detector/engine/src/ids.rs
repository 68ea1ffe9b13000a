//! Secret names: one identity for bare names, partial and full ARNs, versions, labels, and
//! references to Secrets Manager from Parameter Store.
//!
//! Sources: AWS Secrets Manager user guide, "Secret ARN"; Systems Manager user guide, "Working with
//! parameter versions", "Referencing Secrets Manager secrets from Parameter Store parameters".

use std::{fmt, sync::Arc};

/// Reference-counted text, shared between records.
pub type SharedStr = Arc<str>;

/// `/aws/reference/secretsmanager/<secret>`: a parameter name that reads a secret.
const REFERENCE_PREFIX: &str = "/aws/reference/secretsmanager/";

/// Length of the random suffix of a secret's ARN, including its hyphen.
const SUFFIX: usize = 7;

/// Digits of an account id.
pub const ACCOUNT_DIGITS: usize = 12;

/// Whether text is an account id: twelve digits.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `userIdentity.accessKeyId` is that of a user's own key, which does not expire; the keys
/// of sessions begin with `ASIA`.
#[must_use]
pub fn is_long_term_key(id: &str) -> bool {
    id.starts_with("AKIA")
}

/// An account id that was written as a number, with the zeros at its beginning that it has lost;
/// `None` for anything else.
pub(crate) fn account_of_digits(text: &str) -> Option<String> {
    let whole = format!("{text:0>ACCOUNT_DIGITS$}");
    (is_account(&whole) && !text.is_empty()).then_some(whole)
}

/// The parts of an ARN. `resource` may contain colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArnParts<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov`, or any other value.
    pub partition: &'a str,
    /// Service, e.g. `secretsmanager`.
    pub service: &'a str,
    /// Region, e.g. `eu-west-1`; empty for global resources.
    pub region: &'a str,
    /// Account id; empty in some ARNs, such as those of S3 buckets.
    pub account: &'a str,
    /// Everything after the fifth colon.
    pub resource: &'a str,
}

impl<'a> ArnParts<'a> {
    /// Splits `arn:partition:service:region:account:resource`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (partition, rest) = up_to_colon(text.strip_prefix("arn:")?)?;
        let (service, rest) = up_to_colon(rest)?;
        let (region, rest) = up_to_colon(rest)?;
        let (account, resource) = up_to_colon(rest)?;
        Some(Self {
            partition,
            service,
            region,
            account,
            resource,
        })
    }

    /// Partition, account and region of the resource.
    fn home(self) -> RecordHome<'a> {
        RecordHome {
            partition: self.partition,
            account: self.account,
            region: self.region,
        }
    }
}

/// Text before and after the first colon.
#[inline]
fn up_to_colon(text: &str) -> Option<(&str, &str)> {
    // Searched as bytes: every record has several ARNs, and searching for a `char` takes three
    // times as long.
    let (part, after) = text.split_at_checked(memchr::memchr(b':', text.as_bytes())?)?;
    Some((part, after.strip_prefix(':')?))
}

/// The service that stores a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretStore {
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS Systems Manager Parameter Store.
    Ssm,
}

impl SecretStore {
    /// Both stores.
    pub const ALL: [Self; 2] = [Self::SecretsManager, Self::Ssm];

    /// The name in JSON and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::Ssm => "ssm",
        }
    }
}

impl fmt::Display for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A secret as a record refers to it. Two references mean the same secret when their [`SecretKey`]s
/// are equal and their full ARNs, where both are known, are equal too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// The service that stores it.
    pub store: SecretStore,
    /// Partition of its ARN, e.g. `aws` or `aws-cn`.
    pub partition: SharedStr,
    /// Id of the owning account: from the ARN, else the account of the record.
    pub account: SharedStr,
    /// Region: from the ARN, else the region of the record. Empty where the record lacks its own,
    /// as in some query results: bare names beside full ARNs are then one secret.
    pub region: SharedStr,
    /// Name without suffix, version or label; `None` when the record does not contain it (denied
    /// reads, batches with filters).
    pub name: Option<SharedStr>,
    /// Full ARN; `None` while only a name or a partial ARN is known.
    pub arn: Option<SharedStr>,
    /// The alternative name, in case the given ARN is partial: the end of `…:secret:my-secret`
    /// looks like a random suffix. `None` when there is no ambiguity.
    pub partial_name: Option<SharedStr>,
    /// Requested version, or for a lone KMS Decrypt the decrypted one: a UUID for secrets, a number
    /// for parameters.
    pub version_id: Option<SharedStr>,
    /// Requested staging label (`AWSPREVIOUS`) or parameter label.
    pub version_stage: Option<SharedStr>,
}

/// Identity of a secret, whatever its spelling in the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKey {
    store: SecretStore,
    account: SharedStr,
    region: SharedStr,
    name: Option<SharedStr>,
}

/// Borrowed form of [`SecretKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SecretPlace<'a> {
    store: SecretStore,
    account: &'a str,
    region: &'a str,
    name: Option<&'a str>,
}

/// Partition, account and region of a record: bare names are relative to them.
#[derive(Debug, Clone, Copy)]
pub struct RecordHome<'a> {
    /// Partition, for the ARNs of parameters.
    pub partition: &'a str,
    /// `recipientAccountId`; where it is missing, the caller's account.
    pub account: &'a str,
    /// `awsRegion`.
    pub region: &'a str,
}

impl RecordHome<'_> {
    /// The place that an ARN names, for the identity of a secret: without its region where the
    /// record has none, because other records of this kind name the secret without an ARN.
    fn beside(self, record: RecordHome<'_>) -> Self {
        let region = if record.region.is_empty() {
            ""
        } else {
            self.region
        };
        Self { region, ..self }
    }
}

impl SecretRef {
    /// A reference of which only store, partition, account and region are known.
    #[must_use]
    pub fn unnamed(store: SecretStore, home: RecordHome<'_>) -> Self {
        Self {
            store,
            partition: home.partition.into(),
            account: home.account.into(),
            region: home.region.into(),
            name: None,
            arn: None,
            partial_name: None,
            version_id: None,
            version_stage: None,
        }
    }

    /// Parses `secretId`: a friendly name, a full ARN, or an ARN without its suffix.
    ///
    /// An ARN that ends in a hyphen and six letters or digits counts as full, as in Secrets Manager
    /// itself, until a KMS Decrypt shows otherwise.
    #[must_use]
    pub fn secret(id: &str, home: RecordHome<'_>) -> Self {
        let arn = ArnParts::parse(id).filter(|a| a.service == "secretsmanager");
        let Some((arn, name)) = arn.and_then(|a| Some((a, a.resource.strip_prefix("secret:")?)))
        else {
            return Self {
                name: Some(id.into()),
                ..Self::unnamed(SecretStore::SecretsManager, home)
            };
        };
        // A partial ARN whose name happens to end like a suffix looks full. Keep both readings: the
        // Decrypt, whose ARN is always full, decides between them.
        let bare = without_suffix(name);
        Self {
            name: Some(bare.unwrap_or(name).into()),
            arn: bare.map(|_| id.into()),
            partial_name: bare.map(|_| name.into()),
            // The secret is where its ARN says, possibly in another account than the record.
            ..Self::unnamed(SecretStore::SecretsManager, arn.home().beside(home))
        }
    }

    /// Parses the name of a parameter: plain, a path, with `:version` or `:label`, a full ARN, or a
    /// reference to a secret in Secrets Manager.
    #[must_use]
    pub fn parameter(name: &str, home: RecordHome<'_>) -> Self {
        if let Some(secret) = name.strip_prefix(REFERENCE_PREFIX) {
            return Self::secret(secret, home);
        }
        // A parameter shared by another account can only be requested by its full ARN.
        let record = home;
        let (home, rest) = match ArnParts::parse(name).filter(|arn| arn.service == "ssm") {
            Some(arn) => {
                let rest = arn.resource.strip_prefix("parameter");
                (arn.home(), rest.unwrap_or(arn.resource))
            }
            None => (home, name),
        };
        // Parameter names contain no colon.
        let (bare, selector) = rest.split_once(':').unwrap_or((rest, ""));
        let name = one_name(bare);
        let mut parameter = Self {
            arn: (!home.region.is_empty()).then(|| parameter_arn(&name, home)),
            name: Some(name.into()),
            ..Self::unnamed(SecretStore::Ssm, home.beside(record))
        };
        parameter.select(selector);
        parameter
    }

    /// Sets the version or the label that follows the name of a parameter. Empty text sets nothing.
    fn select(&mut self, selector: &str) {
        if selector.is_empty() {
            return;
        }
        // Versions are numbers, and labels cannot begin with one.
        let place = if selector.bytes().all(|b| b.is_ascii_digit()) {
            &mut self.version_id
        } else {
            &mut self.version_stage
        };
        *place = Some(selector.into());
    }

    /// The secret or parameter that an ARN names; `None` for anything else.
    pub(crate) fn of_arn(arn: &str) -> Option<Self> {
        let parts = ArnParts::parse(arn)?;
        match parts.service {
            "secretsmanager" => Some(Self::secret(arn, parts.home())),
            "ssm" => Some(Self::parameter(arn, parts.home())),
            _ => None,
        }
    }

    /// The path of `GetParametersByPath`, as the resource in IAM policies: `…:parameter/<path>`.
    #[must_use]
    pub fn path(path: &str, home: RecordHome<'_>) -> Self {
        Self {
            name: Some(path.into()),
            arn: (!home.region.is_empty()).then(|| parameter_arn(path, home)),
            ..Self::unnamed(SecretStore::Ssm, home)
        }
    }

    /// All texts in it, so that an interner can replace them with shared copies.
    pub(crate) fn texts(&mut self) -> impl Iterator<Item = &mut SharedStr> {
        let Self {
            partition,
            account,
            region,
            name,
            arn,
            partial_name,
            version_id,
            version_stage,
            ..
        } = self;
        let optional = [name, arn, partial_name, version_id, version_stage]
            .into_iter()
            .flatten();
        [partition, account, region].into_iter().chain(optional)
    }

    /// The identity: other references with the same key may mean the same secret.
    #[must_use]
    pub fn key(&self) -> SecretKey {
        SecretKey {
            store: self.store,
            account: self.account.clone(),
            region: self.region.clone(),
            name: self.name.clone(),
        }
    }

    /// The identity that it has if its ARN is partial; `None` when the ARN is not ambiguous.
    pub(crate) fn partial_place(&self) -> Option<SecretPlace<'_>> {
        let name = self.partial_name.as_deref()?;
        Some(SecretPlace {
            name: Some(name),
            ..self.place()
        })
    }

    /// Store, account and region, without a name.
    pub(crate) fn root(&self) -> SecretPlace<'_> {
        SecretPlace {
            name: None,
            ..self.place()
        }
    }

    /// Borrowed form of [`Self::key`].
    pub(crate) fn place(&self) -> SecretPlace<'_> {
        SecretPlace {
            store: self.store,
            account: &self.account,
            region: &self.region,
            name: self.name.as_deref(),
        }
    }

    /// Whether a full reference, as in encryption contexts, may mean this secret: it has the same
    /// ARN, or it completes this name or partial ARN.
    #[must_use]
    pub fn is_completed_by(&self, full: &Self) -> bool {
        let same_place =
            self.store == full.store && self.account == full.account && self.region == full.region;
        // One name with two suffixes is two secrets: the first was deleted before the second was
        // created.
        let same_arn = self.name == full.name
            && (self.arn.is_none() || full.arn.is_none() || self.arn == full.arn);
        same_place && (same_arn || (self.partial_name.is_some() && self.partial_name == full.name))
    }

    /// Whether both references may mean the same secret, whichever of them is more complete.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.is_completed_by(other) || other.is_completed_by(self)
    }

    /// This reference, completed with the name, the ARN and the place of a full one. Keeps the
    /// requested version.
    #[must_use]
    pub fn completed(&self, full: &Self) -> Self {
        Self {
            arn: full.arn.clone().or_else(|| self.arn.clone()),
            partial_name: None,
            version_id: self.version_id.clone(),
            version_stage: self.version_stage.clone(),
            ..full.clone()
        }
    }

    /// Short text for display: the name, or store and region when the name is unknown.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("an unidentified {} secret in {}", self.store, self.region),
        }
    }
}

impl SecretKey {
    /// A reference with the fields of this key only.
    pub(crate) fn to_ref(&self, partition: &SharedStr) -> SecretRef {
        SecretRef {
            store: self.store,
            partition: partition.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            name: self.name.clone(),
            arn: None,
            partial_name: None,
            version_id: None,
            version_stage: None,
        }
    }

    /// The identity as text for state keys: the parts joined by line feeds, which no part contains.
    #[must_use]
    pub fn to_text(&self) -> String {
        let name = self.name.as_deref().unwrap_or("");
        format!("{}\n{}\n{}\n{name}", self.store, self.account, self.region)
    }
}

/// The name of a secret or parameter, from its ARN; anything else unchanged.
#[must_use]
pub fn secret_name(secret: &str) -> &str {
    let resource = ArnParts::parse(secret).map_or(secret, |arn| arn.resource);
    resource
        .strip_prefix("secret:")
        .or(resource.strip_prefix("parameter"))
        .unwrap_or(resource)
}

/// What follows the last `/`: a name without its path.
pub(crate) fn last_segment(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// Canonical form: a root parameter may be written `x` or `/x`, and both have the ARN
/// `parameter/x`; deeper names always begin with `/`.
fn one_name(name: &str) -> String {
    match name.rfind('/') {
        Some(0) => name.trim_start_matches('/').to_owned(),
        _ => name.to_owned(),
    }
}

/// The ARN of a parameter or of a parameter path.
fn parameter_arn(name: &str, home: RecordHome<'_>) -> SharedStr {
    let RecordHome {
        partition,
        account,
        region,
    } = home;
    // A leading slash of the name is also the separator after `parameter`.
    let name = name.trim_start_matches('/');
    format!("arn:{partition}:ssm:{region}:{account}:parameter/{name}").into()
}

/// The name without a final `-` and six letters or digits; `None` when it has no such ending.
fn without_suffix(name: &str) -> Option<&str> {
    let cut = name.len().checked_sub(SUFFIX)?;
    let (bare, suffix) = name.split_at_checked(cut)?;
    let random = suffix.strip_prefix('-')?;
    (random.bytes().all(|b| b.is_ascii_alphanumeric()) && !bare.is_empty()).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    #[test]
    fn every_spelling_of_a_secret_is_one_identity() {
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db!x-AbC123";
        let full = SecretRef::secret(arn, HOME);
        assert_eq!(
            (full.name.as_deref(), full.arn.as_deref()),
            (Some("prod/db!x"), Some(arn))
        );
        for spelling in ["prod/db!x", arn.strip_suffix("-AbC123").unwrap()] {
            let other = SecretRef::secret(spelling, HOME);
            assert_eq!(
                (other.key(), other.arn.clone()),
                (full.key(), None),
                "{spelling}"
            );
            assert!(other.agrees_with(&full));
        }
        let reference = SecretRef::parameter("/aws/reference/secretsmanager/prod/db!x", HOME);
        assert_eq!(reference.key(), full.key());
        let recreated = SecretRef::secret(&arn.replace("AbC123", "ZZZ999"), HOME);
        assert_eq!(recreated.key(), full.key());
        assert!(
            !recreated.agrees_with(&full),
            "deleted and created again under its old name"
        );
    }

    #[test]
    fn a_name_keeps_what_looks_like_a_suffix() {
        assert_eq!(
            SecretRef::secret("my-secret", HOME).name.as_deref(),
            Some("my-secret")
        );
        let full = SecretRef::secret(
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:my-secret-AbC123",
            HOME,
        );
        assert_eq!(full.name.as_deref(), Some("my-secret"));
        let partial = SecretRef::secret(
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:my-secret",
            HOME,
        );
        assert!(partial.is_completed_by(&full) && partial.partial_place() == Some(full.place()));
        assert_eq!(partial.completed(&full).name, full.name);
        let other = SecretRef::secret(
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:my-secreX-AbC123",
            HOME,
        );
        assert!(!partial.agrees_with(&other));
    }

    #[test]
    fn an_arn_is_taken_apart_only_if_it_is_whole() {
        let global = ArnParts::parse("arn:aws:iam::111122223333:role/a:b/c").unwrap();
        assert_eq!((global.region, global.resource), ("", "role/a:b/c"));
        for text in [
            "",
            "arn:",
            "arn:aws:ssm:eu-west-1:111122223333",
            "a:b:c:d:e:f",
        ] {
            assert_eq!(ArnParts::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_arn_has_the_place_of_its_secret_and_a_name_has_that_of_the_record() {
        let place = |secret: &SecretRef| {
            let SecretRef {
                partition,
                account,
                region,
                ..
            } = secret;
            format!("{partition} {account} {region}")
        };
        let elsewhere = "aws-cn 999988887777 cn-north-1";
        let secret = "arn:aws-cn:secretsmanager:cn-north-1:999988887777:secret:db-AbC123";
        assert_eq!(place(&SecretRef::secret(secret, HOME)), elsewhere);
        let parameter = "arn:aws-cn:ssm:cn-north-1:999988887777:parameter/db";
        assert_eq!(place(&SecretRef::parameter(parameter, HOME)), elsewhere);
        // An ARN of another service is not a secret ARN; it stays as the requested name.
        let role = SecretRef::secret("arn:aws-cn:iam::999988887777:role/db", HOME);
        assert_eq!(place(&role), "aws 111122223333 eu-west-1");
        assert_eq!(
            (role.name.as_deref(), role.arn),
            (Some("arn:aws-cn:iam::999988887777:role/db"), None)
        );
    }

    #[test]
    fn a_reference_keeps_its_version_when_a_decrypt_completes_it() {
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC123";
        let asked = SecretRef {
            version_stage: Some("AWSPREVIOUS".into()),
            ..SecretRef::secret("db", HOME)
        };
        let completed = asked.completed(&SecretRef::secret(arn, HOME));
        assert_eq!(completed.arn.as_deref(), Some(arn));
        assert_eq!(completed.version_stage, asked.version_stage);
        assert_eq!(completed.partial_name, None, "the ambiguity is resolved");
        // One that has no name is where the full one is.
        let elsewhere = "arn:aws-cn:secretsmanager:cn-north-1:444455556666:secret:db-AbC123";
        let full = SecretRef::secret(elsewhere, HOME);
        let completed = SecretRef::unnamed(SecretStore::SecretsManager, HOME).completed(&full);
        assert_eq!(completed.key(), full.key());
        assert_eq!(&*completed.partition, "aws-cn");
    }

    #[test]
    fn the_root_is_a_path_too() {
        for (path, resource) in [("/", ""), ("/a", "a"), ("/a/b/", "a/b/")] {
            let arn = format!("arn:aws:ssm:eu-west-1:111122223333:parameter/{resource}");
            let path = SecretRef::path(path, HOME);
            assert_eq!(path.arn.as_deref(), Some(arn.as_str()));
        }
    }

    #[test]
    fn other_partitions_and_regions_are_read_alike() {
        for (partition, region) in [
            ("aws-cn", "cn-north-1"),
            ("aws-us-gov", "us-gov-west-1"),
            ("aws-new", "xx-moon-9"),
        ] {
            let home = RecordHome {
                partition,
                account: "111122223333",
                region,
            };
            let arn = format!("arn:{partition}:ssm:{region}:111122223333:parameter/a/b");
            let by_name = SecretRef::parameter("/a/b", home);
            assert_eq!(by_name.arn.as_deref(), Some(arn.as_str()));
            assert_eq!(SecretRef::parameter(&arn, HOME), by_name);
        }
    }

    #[test]
    fn every_spelling_of_a_parameter_is_one_identity() {
        let plain = SecretRef::parameter("token", HOME);
        assert_eq!(
            plain.arn.as_deref(),
            Some("arn:aws:ssm:eu-west-1:111122223333:parameter/token")
        );
        let spellings = [
            "token:3",
            "token:live",
            "/token",
            "arn:aws:ssm:eu-west-1:111122223333:parameter/token",
            "token:",
        ];
        for spelling in spellings {
            assert_eq!(
                SecretRef::parameter(spelling, HOME).key(),
                plain.key(),
                "{spelling}"
            );
        }
        assert_eq!(
            SecretRef::parameter("token:3", HOME).version_id.as_deref(),
            Some("3")
        );
        assert_eq!(
            SecretRef::parameter("token:live", HOME)
                .version_stage
                .as_deref(),
            Some("live")
        );
        let deep = SecretRef::parameter("arn:aws:ssm:eu-west-1:111122223333:parameter/a/b:2", HOME);
        assert_eq!(
            (deep.name.as_deref(), deep.version_id.as_deref()),
            (Some("/a/b"), Some("2"))
        );
    }
}
