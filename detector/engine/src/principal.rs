//! `userIdentity` to the principal that stands behind it: sessions of a role fold into the role, people stay people.
//!
//! Source: AWS CloudTrail user guide, "CloudTrail userIdentity element".

use std::borrow::Cow;

use crate::ids::{Arn, Text};
use crate::wire;

/// What kind of caller a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A person: an IAM user, a console or IAM Identity Center session.
    Human,
    /// A role that software runs under.
    Workload,
    /// An AWS service on its own account.
    Service,
    /// The root user.
    Root,
    /// Not told, as in another account's copy of an event.
    Unknown,
}

impl PrincipalKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Human,
        Self::Workload,
        Self::Service,
        Self::Root,
        Self::Unknown,
    ];

    /// The name in JSON and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Workload => "workload",
            Self::Service => "service",
            Self::Root => "root",
            Self::Unknown => "unknown",
        }
    }
}

/// Who called. While its record is being read its texts may be the record's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal<T = Text> {
    /// Stable identity: role ARN with its path (and the session name for people behind `AWSReservedSSO_*` roles), user ARN,
    /// root ARN, service name, or `account:principal id` where the record has no ARN. `None` when it names nobody.
    pub id: Option<T>,
    /// `userIdentity.arn`: the full session.
    pub actor: Option<T>,
    /// `userIdentity.type`.
    pub identity_type: Option<T>,
    /// What kind of caller it is.
    pub kind: PrincipalKind,
    /// `userIdentity.accountId`, or the account of the trail where it is missing.
    pub account: Option<T>,
    /// Name of the role, user or service.
    pub name: Option<T>,
    /// Name of the role session.
    pub session: Option<T>,
    /// `userIdentity.invokedBy`: the service that called on the principal's behalf.
    pub via: Option<T>,
    /// Whether the session was opened in the AWS console (`sessionCredentialFromConsole`).
    pub console: bool,
    /// `userIdentity.principalId`.
    pub principal_id: Option<T>,
}

impl Principal {
    /// What must be equal in a read and its key use: the full session, or account and principal id where there is none.
    #[must_use]
    pub fn actor_key(&self) -> Option<Text> {
        let without_arn = || {
            Some(
                format!(
                    "{}/{}",
                    self.account.as_deref()?,
                    self.principal_id.as_deref()?
                )
                .into(),
            )
        };
        self.actor
            .clone()
            .or_else(without_arn)
            .or_else(|| self.id.clone())
    }
}

impl<T: AsRef<str>> Principal<T> {
    /// Whether both say the same.
    pub(crate) fn is<U: AsRef<str>>(&self, other: &Principal<U>) -> bool {
        (self.kind, self.console) == (other.kind, other.console)
            && self.texts().map(|text| text.map(AsRef::as_ref))
                == other.texts().map(|text| text.map(AsRef::as_ref))
    }

    fn texts(&self) -> [Option<&T>; 8] {
        let Self {
            id,
            actor,
            identity_type,
            account,
            name,
            session,
            via,
            principal_id,
            ..
        } = self;
        [
            id,
            actor,
            identity_type,
            account,
            name,
            session,
            via,
            principal_id,
        ]
        .map(Option::as_ref)
    }
}

impl<'r> Principal<Cow<'r, str>> {
    /// Reads the identity of a record.
    #[must_use]
    pub fn of(record: &'r wire::Record<'_>) -> Self {
        let identity = &record.user_identity.0;
        let text = |scalar: &'r wire::Scalar<'_>| scalar.get().map(Cow::Borrowed);
        let console = record.session_credential_from_console.is_true();
        let account = text(&identity.account_id).or_else(|| text(&record.recipient_account_id));
        let mut principal = Self {
            id: None,
            actor: text(&identity.arn),
            identity_type: text(&identity.kind),
            kind: PrincipalKind::Unknown,
            account,
            name: text(&identity.user_name),
            session: None,
            via: text(&identity.invoked_by),
            console,
            principal_id: text(&identity.principal_id),
        };
        principal.fold(identity);
        if console && principal.kind != PrincipalKind::Root {
            principal.kind = PrincipalKind::Human;
        }
        principal
    }

    /// The same with texts of its own; those that are not of one session alone are shared.
    pub(crate) fn owned(&self, mut shared: impl FnMut(&str) -> Text) -> Principal {
        let mut text = |text: &Option<Cow<'_, str>>| text.as_deref().map(&mut shared);
        let own = |text: &Option<Cow<'_, str>>| text.as_deref().map(Text::from);
        Principal {
            id: text(&self.id),
            actor: text(&self.actor),
            identity_type: text(&self.identity_type),
            kind: self.kind,
            account: text(&self.account),
            name: text(&self.name),
            session: own(&self.session),
            via: text(&self.via),
            console: self.console,
            principal_id: own(&self.principal_id),
        }
    }

    fn fold(&mut self, identity: &'r wire::UserIdentity<'_>) {
        match identity.kind.get() {
            Some("AssumedRole" | "Role") => self.fold_role(identity),
            Some("FederatedUser") => {
                let issuer = identity.session_issuer();
                self.id = issuer
                    .arn
                    .get()
                    .map(Cow::Borrowed)
                    .or_else(|| self.actor.clone());
                self.session = identity.arn.get().map(last_segment);
                self.kind = PrincipalKind::Human;
            }
            Some("Root") => {
                let root = |account: &Cow<'_, str>| format!("arn:aws:iam::{account}:root").into();
                self.id = self
                    .actor
                    .clone()
                    .or_else(|| self.account.as_ref().map(root));
                self.name = self.name.take().or(Some("root".into()));
                self.kind = PrincipalKind::Root;
            }
            Some("AWSService") => self.fold_service(),
            Some("IdentityCenterUser") => {
                let person = &identity.on_behalf_of;
                let id = person.identity_store_arn.get().zip(person.user_id.get());
                self.id = id
                    .map(|(store, user)| format!("{store}/{user}").into())
                    .or_else(|| self.without_arn());
                self.kind = PrincipalKind::Human;
            }
            Some("SAMLUser" | "WebIdentityUser" | "IAMUser") => {
                self.id = self.actor.clone().or_else(|| self.without_arn());
                self.name = self
                    .name
                    .take()
                    .or_else(|| identity.arn.get().map(last_segment));
                self.kind = PrincipalKind::Human;
            }
            None if self.via.is_some() && self.actor.is_none() => self.fold_service(),
            _ => self.id = self.actor.clone().or_else(|| self.without_arn()),
        }
    }

    fn fold_role(&mut self, identity: &'r wire::UserIdentity<'_>) {
        let issuer = identity.session_issuer();
        let assumed = identity.arn.get().and_then(assumed_role);
        let named = || {
            identity
                .principal_id
                .get()?
                .split_once(':')
                .map(|(_, session)| session)
        };
        let session = assumed.map(|(_, _, session)| session).or_else(named);
        // The session's ARN lacks the path of the role; the issuer has it, where it is not empty.
        let from_session = || {
            let (arn, role, _) = assumed?;
            Some(Cow::Owned(format!(
                "arn:{}:iam::{}:role/{role}",
                arn.partition, arn.account
            )))
        };
        let by_issuer = issuer.arn.get();
        let role = by_issuer
            .map(Cow::Borrowed)
            .or_else(from_session)
            .or_else(|| self.actor.clone());
        // The last segment of an ARN that was made of the session's is the name in it.
        let name = by_issuer
            .map(last_segment)
            .or(assumed.map(|(_, role, _)| last_segment(role)));
        let name = name.or_else(|| identity.arn.get().map(last_segment));
        let by_sso = name
            .as_deref()
            .is_some_and(|n| n.starts_with("AWSReservedSSO_"));
        self.kind = match (&role, by_sso) {
            (_, true) => PrincipalKind::Human,
            (Some(arn), _) if arn.contains(":role/aws-service-role/") => PrincipalKind::Service,
            _ => PrincipalKind::Workload,
        };
        self.id = match (role, session) {
            (Some(role), Some(person)) if by_sso => Some(format!("{role}/{person}").into()),
            (Some(role), _) => Some(role),
            (None, _) => self.without_arn(),
        };
        self.name = name
            .or_else(|| issuer.user_name.get().map(Cow::Borrowed))
            .or_else(|| self.name.take());
        self.session = session.map(Cow::Borrowed);
    }

    fn fold_service(&mut self) {
        self.id = self.via.clone().or_else(|| self.without_arn());
        self.name = self.via.clone();
        self.kind = PrincipalKind::Service;
    }

    /// `account:principal id` without the session; `anonymous` callers have an empty principal id.
    fn without_arn(&self) -> Option<Cow<'r, str>> {
        let account = self.account.as_deref()?;
        let id = self.principal_id.as_deref().unwrap_or_default();
        let stable = id.split_once(':').map_or(id, |(role, _)| role);
        Some(
            if stable.is_empty() {
                account.to_owned()
            } else {
                format!("{account}:{stable}")
            }
            .into(),
        )
    }
}

/// `arn:…:sts::account:assumed-role/Role/Session` → ARN, role name, session name.
fn assumed_role(actor: &str) -> Option<(Arn<'_>, &str, &str)> {
    let arn = Arn::parse(actor)?;
    let (role, session) = arn
        .resource
        .strip_prefix("assumed-role/")?
        .split_once('/')?;
    Some((arn, role, session))
}

fn last_segment(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text.rsplit('/').next().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(identity: &str) -> Principal {
        let record =
            format!(r#"{{"userIdentity":{identity},"recipientAccountId":"111122223333"}}"#);
        let record = serde_json::from_str::<wire::Record<'_>>(&record).unwrap();
        Principal::of(&record).owned(|text| text.into())
    }

    fn check(identity: &str, id: Option<&str>, kind: PrincipalKind) -> Principal {
        let principal = principal(identity);
        assert_eq!(
            (principal.id.as_deref(), principal.kind),
            (id, kind),
            "{identity}"
        );
        principal
    }

    #[test]
    fn sessions_of_a_workload_fold_into_the_role_with_its_path() {
        let session = "arn:aws:sts::111122223333:assumed-role/app/i-0abc";
        let issuer = r#"{"type":"Role","arn":"arn:aws:iam::111122223333:role/team/app","accountId":"111122223333","userName":"app"}"#;
        let with = format!(
            r#"{{"type":"AssumedRole","arn":"{session}","principalId":"AROA1:i-0abc","accountId":"111122223333","sessionContext":{{"sessionIssuer":{issuer}}}}}"#
        );
        let p = check(
            &with,
            Some("arn:aws:iam::111122223333:role/team/app"),
            PrincipalKind::Workload,
        );
        assert_eq!(
            (p.name.as_deref(), p.session.as_deref(), p.actor.as_deref()),
            (Some("app"), Some("i-0abc"), Some(session))
        );
        for empty in [r#"{"sessionIssuer":{}}"#, "{}", "null", "[]"] {
            let without =
                format!(r#"{{"type":"AssumedRole","arn":"{session}","sessionContext":{empty}}}"#);
            check(
                &without,
                Some("arn:aws:iam::111122223333:role/app"),
                PrincipalKind::Workload,
            );
        }
    }

    #[test]
    fn a_person_behind_single_sign_on_keeps_the_name() {
        let role = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef";
        let identity = format!(
            r#"{{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/ann@example.com","sessionContext":{{"sessionIssuer":{{"arn":"{role}"}}}}}}"#
        );
        check(
            &identity,
            Some(&format!("{role}/ann@example.com")),
            PrincipalKind::Human,
        );
    }

    #[test]
    fn the_other_types_keep_what_they_have() {
        check(
            r#"{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann","userName":"ann"}"#,
            Some("arn:aws:iam::111122223333:user/ann"),
            PrincipalKind::Human,
        );
        check(
            r#"{"type":"IAMUser","principalId":"AIDA1","accountId":"111122223333","accessKeyId":""}"#,
            Some("111122223333:AIDA1"),
            PrincipalKind::Human,
        );
        check(
            r#"{"type":"Root","accountId":"111122223333"}"#,
            Some("arn:aws:iam::111122223333:root"),
            PrincipalKind::Root,
        );
        check(
            r#"{"type":"AWSService","invokedBy":"rds.amazonaws.com"}"#,
            Some("rds.amazonaws.com"),
            PrincipalKind::Service,
        );
        check(
            r#"{"accountId":"111122223333","invokedBy":"secretsmanager.amazonaws.com"}"#,
            Some("secretsmanager.amazonaws.com"),
            PrincipalKind::Service,
        );
        let outsider = check(
            r#"{"type":"AWSAccount","accountId":"999988887777","principalId":"AROA9:job"}"#,
            Some("999988887777:AROA9"),
            PrincipalKind::Unknown,
        );
        assert_eq!(
            outsider.actor_key().as_deref(),
            Some("999988887777/AROA9:job")
        );
        check(
            r#"{"type":"AWSAccount","principalId":"","accountId":"anonymous"}"#,
            Some("anonymous"),
            PrincipalKind::Unknown,
        );
        check("null", Some("111122223333"), PrincipalKind::Unknown);
    }
}
