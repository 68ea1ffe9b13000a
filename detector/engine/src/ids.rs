//! Names of secrets: one identity for bare names, partial and full ARNs, versions, labels and pass-through names.
//!
//! Sources: AWS Secrets Manager user guide, "Secret ARN"; Systems Manager user guide, "Working with parameter versions",
//! "Referencing Secrets Manager secrets from Parameter Store parameters".

use std::fmt;
use std::sync::Arc;

/// Text shared between the records that it came from.
pub type Text = Arc<str>;

/// `/aws/reference/secretsmanager/<secret>`: a parameter name that reads a secret.
const REFERENCE_PREFIX: &str = "/aws/reference/secretsmanager/";

/// Length of the random suffix of a secret's ARN, with its hyphen.
const SUFFIX: usize = 7;

/// The parts of an ARN. The resource keeps its colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov` or one never heard of.
    pub partition: &'a str,
    /// Service.
    pub service: &'a str,
    /// Region; empty for global resources.
    pub region: &'a str,
    /// Account id.
    pub account: &'a str,
    /// Everything after the fifth colon.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits `arn:partition:service:region:account:resource`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.strip_prefix("arn:")?;
        // Colons are searched as bytes: every record has several ARNs, and the search for a `char` costs three times as much.
        let mut next = || {
            let (part, after) = rest.split_at_checked(memchr::memchr(b':', rest.as_bytes())?)?;
            rest = after.strip_prefix(':')?;
            Some(part)
        };
        let (partition, service, region, account) = (next()?, next()?, next()?, next()?);
        Some(Self {
            partition,
            service,
            region,
            account,
            resource: rest,
        })
    }
}

/// Which service keeps a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS Systems Manager Parameter Store.
    Ssm,
}

impl Store {
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

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record calls a secret. Two of them mean the same secret when their [`SecretKey`]s are equal and their full ARNs,
/// where both are known, are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// Which service keeps it.
    pub store: Store,
    /// Partition of its ARN, as in `aws` or `aws-cn`.
    pub partition: Text,
    /// Account that owns it.
    pub account: Text,
    /// Region of the secret.
    pub region: Text,
    /// Name without suffix, version or label; `None` when the record does not tell (denied reads, filtered batches).
    pub name: Option<Text>,
    /// Full ARN; `None` while only a name or a partial ARN is known.
    pub arn: Option<Text>,
    /// The name, if the ARN that was typed turns out to lack its suffix: `…:secret:my-secret` ends as a full ARN does.
    pub partial_name: Option<Text>,
    /// Version that was asked for: a UUID for secrets, a number for parameters.
    pub version_id: Option<Text>,
    /// Staging label (`AWSPREVIOUS`) or parameter label that was asked for.
    pub version_stage: Option<Text>,
}

/// The identity of a secret, whatever it was called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKey {
    store: Store,
    account: Text,
    region: Text,
    name: Option<Text>,
}

/// [`SecretKey`] without its own copies: store, account, region, name.
pub(crate) type SecretPlace<'a> = (Store, &'a str, &'a str, Option<&'a str>);

/// Where a record was made: what a bare name is relative to.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// Partition, for the ARNs of parameters.
    pub partition: &'a str,
    /// Account.
    pub account: &'a str,
    /// Region.
    pub region: &'a str,
}

impl SecretRef {
    /// A secret of which only the place is known.
    #[must_use]
    pub fn unnamed(store: Store, home: Home<'_>) -> Self {
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

    /// Reads `secretId`: a friendly name, a full ARN, or an ARN without its suffix.
    ///
    /// An ARN that ends in a hyphen and six letters or digits is taken as full, as Secrets Manager itself does, until a
    /// key use shows otherwise.
    #[must_use]
    pub fn secret(id: &str, home: Home<'_>) -> Self {
        let arn = Arn::parse(id).filter(|a| a.service == "secretsmanager");
        let Some((arn, name)) = arn.and_then(|a| Some((a, a.resource.strip_prefix("secret:")?)))
        else {
            return Self {
                name: Some(id.into()),
                ..Self::unnamed(Store::SecretsManager, home)
            };
        };
        let bare = without_suffix(name);
        Self {
            store: Store::SecretsManager,
            partition: arn.partition.into(),
            account: arn.account.into(),
            region: arn.region.into(),
            name: Some(bare.unwrap_or(name).into()),
            arn: bare.map(|_| id.into()),
            partial_name: bare.map(|_| name.into()),
            version_id: None,
            version_stage: None,
        }
    }

    /// Reads the name of a parameter: plain, a path, with `:version` or `:label`, a full ARN, or a reference to a secret.
    #[must_use]
    pub fn parameter(name: &str, home: Home<'_>) -> Self {
        if let Some(secret) = name.strip_prefix(REFERENCE_PREFIX) {
            return Self::secret(secret, home);
        }
        let (arn, rest) = match Arn::parse(name).filter(|a| a.service == "ssm") {
            Some(arn) => (
                Some(arn),
                arn.resource
                    .strip_prefix("parameter")
                    .unwrap_or(arn.resource),
            ),
            None => (None, name),
        };
        let (bare, selector) = match rest.split_once(':') {
            Some((bare, selector)) => (bare, Some(selector).filter(|s| !s.is_empty())),
            None => (rest, None),
        };
        let account = arn.map_or(home.account, |a| a.account);
        let region = arn.map_or(home.region, |a| a.region);
        let partition = arn.map_or(home.partition, |a| a.partition);
        let is_version = selector.is_some_and(|s| s.bytes().all(|b| b.is_ascii_digit()));
        let name = one_name(bare);
        Self {
            store: Store::Ssm,
            partition: partition.into(),
            account: account.into(),
            region: region.into(),
            arn: Some(
                format!(
                    "arn:{partition}:ssm:{region}:{account}:parameter/{}",
                    name.trim_start_matches('/')
                )
                .into(),
            ),
            partial_name: None,
            name: Some(name.into()),
            version_id: selector.filter(|_| is_version).map(Into::into),
            version_stage: selector.filter(|_| !is_version).map(Into::into),
        }
    }

    /// The path of `GetParametersByPath`, as the resource that IAM sees: `…:parameter/<path>`.
    #[must_use]
    pub fn path(path: &str, home: Home<'_>) -> Self {
        let Home {
            partition,
            account,
            region,
        } = home;
        let name: Text = path.into();
        let arn = format!(
            "arn:{partition}:ssm:{region}:{account}:parameter/{}",
            path.trim_start_matches('/')
        );
        Self {
            name: Some(name),
            arn: Some(arn.into()),
            ..Self::unnamed(Store::Ssm, home)
        }
    }

    /// Every text in it, to be replaced by a shared copy.
    pub(crate) fn texts(&mut self) -> impl Iterator<Item = &mut Text> {
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

    /// The identity under which other records may mean the same secret.
    #[must_use]
    pub fn key(&self) -> SecretKey {
        SecretKey {
            store: self.store,
            account: self.account.clone(),
            region: self.region.clone(),
            name: self.name.clone(),
        }
    }

    /// The identities that it may turn out to have, borrowed.
    pub(crate) fn places(&self) -> impl Iterator<Item = SecretPlace<'_>> {
        let of = |name| (self.store, &*self.account, &*self.region, name);
        let partial = self.partial_name.as_deref().map(|name| of(Some(name)));
        std::iter::once(of(self.name.as_deref())).chain(partial)
    }

    /// What a [`SecretKey`] holds, borrowed.
    pub(crate) fn place(&self) -> SecretPlace<'_> {
        (
            self.store,
            &*self.account,
            &*self.region,
            self.name.as_deref(),
        )
    }

    /// Whether a full reference, as encryption contexts have it, may be to this secret: the same ARN, or a name or partial
    /// ARN that it completes.
    #[must_use]
    pub fn is_completed_by(&self, full: &Self) -> bool {
        let same_place =
            self.store == full.store && self.account == full.account && self.region == full.region;
        let same_arn = self.name == full.name
            && (self.arn.is_none() || full.arn.is_none() || self.arn == full.arn);
        same_place && (same_arn || (self.partial_name.is_some() && self.partial_name == full.name))
    }

    /// Whether another reference may be to this secret, whichever of the two tells more.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.is_completed_by(other) || other.is_completed_by(self)
    }

    /// This reference with what a full one adds, keeping the version that was asked for.
    #[must_use]
    pub fn completed(&self, full: &Self) -> Self {
        Self {
            name: full.name.clone(),
            arn: full.arn.clone().or_else(|| self.arn.clone()),
            partial_name: None,
            ..self.clone()
        }
    }

    /// A short text for people: the name, or the place where it is not known.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("an unnamed secret of {} in {}", self.store, self.region),
        }
    }
}

impl SecretKey {
    /// A reference to it that says no more than it does.
    pub(crate) fn to_ref(&self, partition: &Text) -> SecretRef {
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

    /// The identity as text, for keys of state: parts joined by a line feed, which no part contains.
    #[must_use]
    pub fn to_text(&self) -> String {
        let name = self.name.as_deref().unwrap_or("");
        format!("{}\n{}\n{}\n{name}", self.store, self.account, self.region)
    }
}

/// A root parameter may be written `x` or `/x`, and both have the ARN `parameter/x`; deeper names always begin with `/`.
fn one_name(name: &str) -> String {
    match name.rfind('/') {
        Some(0) => name.trim_start_matches('/').to_owned(),
        _ => name.to_owned(),
    }
}

/// The name without `-` and six letters or digits at its end; `None` when it does not end so.
fn without_suffix(name: &str) -> Option<&str> {
    let cut = name.len().checked_sub(SUFFIX)?;
    let (bare, suffix) = name.split_at_checked(cut)?;
    let random = suffix.strip_prefix('-')?;
    (random.bytes().all(|b| b.is_ascii_alphanumeric()) && !bare.is_empty()).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home<'_> = Home {
        partition: "aws",
        account: "111122223333",
        region: "eu-west-1",
    };

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
        assert!(partial.is_completed_by(&full) && partial.places().any(|k| k == full.place()));
        assert_eq!(partial.completed(&full).name, full.name);
        let other = SecretRef::secret(
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:my-secreX-AbC123",
            HOME,
        );
        assert!(!partial.agrees_with(&other));
    }

    #[test]
    fn other_partitions_and_regions_are_read_alike() {
        for (partition, region) in [
            ("aws-cn", "cn-north-1"),
            ("aws-us-gov", "us-gov-west-1"),
            ("aws-new", "xx-moon-9"),
        ] {
            let home = Home {
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
