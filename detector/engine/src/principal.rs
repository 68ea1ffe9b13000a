//! Maps `userIdentity` to the principal behind it: sessions of a role are folded into the role;
//! people keep their own identity.
//!
//! Source: AWS CloudTrail user guide, "CloudTrail userIdentity element".

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ArnParts, SharedStr, last_segment},
    wire,
};

/// Kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PrincipalKind {
    /// A person: an IAM user, a console or IAM Identity Center session.
    Human,
    /// A role used by software.
    Workload,
    /// An AWS service acting for itself.
    Service,
    /// The root user.
    Root,
    /// Unknown, as in another account's copy of an event.
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

/// The caller. While its record is being read, its texts may borrow from the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal<T = SharedStr> {
    /// Stable identity: role ARN with its path (and the session name for people behind
    /// `AWSReservedSSO_*` roles), user ARN, root ARN, service name, or `account:principal id` where
    /// the record has no ARN. `None` when the record identifies nobody.
    pub id: Option<T>,
    /// `userIdentity.arn`: the full session.
    pub actor: Option<T>,
    /// `userIdentity.type`; missing on service events.
    pub identity_type: Option<T>,
    /// Kind of caller.
    pub kind: PrincipalKind,
    /// `userIdentity.accountId`; where it is missing, `recipientAccountId`.
    pub account: Option<T>,
    /// Name of the role, user or service.
    pub name: Option<T>,
    /// Name of the role session or federated session; of a chain of roles, the mail address in
    /// `sessionContext.sourceIdentity`.
    pub session: Option<T>,
    /// `userIdentity.invokedBy`: the service that called on behalf of the principal.
    pub via: Option<T>,
    /// Whether the call came from a console session (`sessionCredentialFromConsole`).
    pub console: bool,
    /// `userIdentity.principalId`: `AIDA…` for users, `AROA…:session` for role sessions.
    pub principal_id: Option<T>,
}

impl Principal {
    /// The key that must be equal in a read and its KMS Decrypt: the full session, or account and
    /// principal id where there is none. `None` when the record identifies nobody.
    #[must_use]
    pub fn actor_key(&self) -> Option<SharedStr> {
        self.actor
            .clone()
            .or_else(|| self.account_and_principal_id())
            .or_else(|| self.id.clone())
    }

    /// ARN of the role of a person: a grant that names it covers everybody on it. `None` for
    /// others.
    #[must_use]
    pub fn role_of_person(&self) -> Option<&str> {
        let (id, person) = (self.id.as_deref()?, self.session.as_deref()?);
        let role = id.strip_suffix(person)?.strip_suffix('/')?;
        let is_role = role.contains(":role/") && last_segment(role) == self.name.as_deref()?;
        is_role.then_some(role)
    }

    fn account_and_principal_id(&self) -> Option<SharedStr> {
        let (account, id) = (self.account.as_deref()?, self.principal_id.as_deref()?);
        Some(format!("{account}/{id}").into())
    }
}

impl<T: AsRef<str>> Principal<T> {
    /// Whether both have equal content.
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
    /// Parses the identity of a record.
    #[must_use]
    pub fn of(record: &'r wire::CloudTrailRecord<'_>) -> Self {
        let identity = &record.user_identity.0;
        let console = record.session_credential_from_console.is_true();
        // Service events, and many calls by services, lack the caller's account.
        let arn = identity.arn.get().and_then(ArnParts::parse);
        let in_arn = arn
            .map(|arn| arn.account)
            .filter(|account| !account.is_empty());
        let account = identity.account_id.get().or(in_arn);
        let account = account.or(record.recipient_account_id.get());
        let mut principal = Self {
            id: None,
            actor: lent(&identity.arn),
            identity_type: lent(&identity.kind),
            kind: PrincipalKind::Unknown,
            account: account.map(Cow::Borrowed),
            name: lent(&identity.user_name),
            session: None,
            via: lent(&identity.invoked_by),
            console,
            principal_id: lent(&identity.principal_id),
        };
        principal.fold(identity);
        // While a person uses a role in the console, the caller counts as that person.
        if console && principal.kind != PrincipalKind::Root {
            principal.kind = PrincipalKind::Human;
        }
        principal
    }

    /// An owned copy. Texts are shared, except those that belong to one session only.
    pub(crate) fn owned(&self, mut shared: impl FnMut(&str) -> SharedStr) -> Principal {
        Principal {
            id: self.id.as_deref().map(&mut shared),
            actor: self.actor.as_deref().map(&mut shared),
            identity_type: self.identity_type.as_deref().map(&mut shared),
            kind: self.kind,
            account: self.account.as_deref().map(&mut shared),
            name: self.name.as_deref().map(&mut shared),
            session: self.session.as_deref().map(SharedStr::from),
            via: self.via.as_deref().map(&mut shared),
            console: self.console,
            principal_id: self.principal_id.as_deref().map(SharedStr::from),
        }
    }

    /// Sets the fields that depend on the type of the identity: id, kind, name and session.
    fn fold(&mut self, identity: &'r wire::UserIdentity<'_>) {
        match identity.kind.get() {
            // The ARN tells more than the type: examples of AWS have `IAMUser` beside the ARN of a
            // role session, and results of queries may have no type.
            None | Some("IAMUser") if identity.arn.get().and_then(RoleSession::parse).is_some() => {
                self.fold_role(identity);
            }
            None if identity.arn.get().is_some_and(|arn| arn.contains(":user/")) => {
                self.fold_user(identity);
            }
            None if identity.arn.get().is_some_and(|arn| arn.ends_with(":root")) => {
                self.fold_root();
            }
            Some("AssumedRole" | "Role") => self.fold_role(identity),
            Some("FederatedUser") => self.fold_federated_user(identity),
            Some("Root") => self.fold_root(),
            Some("AWSService") => self.fold_service(),
            Some("IdentityCenterUser") => self.fold_identity_center_user(identity),
            Some("SAMLUser" | "WebIdentityUser" | "IAMUser") => self.fold_user(identity),
            // Events that services report about themselves (`AwsServiceEvent`) have no type.
            None if self.via.is_some() && self.actor.is_none() => self.fold_service(),
            // `AWSAccount`, in the owner's copy of another account's call, has neither ARN nor
            // name.
            _ => {
                let is_numbered = self.principal_id.is_some();
                let numbered = self.without_arn().filter(|_| is_numbered);
                let id = self.actor.clone().or(numbered);
                // The console's event history has only the name.
                self.id = id.or(self.name.clone()).or_else(|| self.without_arn());
            }
        }
    }

    fn fold_role(&mut self, identity: &'r wire::UserIdentity<'_>) {
        let session = identity.arn.get().and_then(RoleSession::parse);
        let role = role_arn(identity, session).or_else(|| self.actor.clone());
        let name = role_name(identity, session);
        let session = session_name(identity, session);
        self.kind = kind_of_role(name, role.as_deref());
        // Sessions of a federation are named after the person; behind a chain of roles, only the
        // source identity is.
        let source_identity = identity.session_context.source_identity.get();
        let mut people = [source_identity, session].into_iter().flatten();
        let person = people.find(|name| is_mail_address(name));
        if person.is_some() && self.kind == PrincipalKind::Workload {
            self.kind = PrincipalKind::Human;
        }
        let session = person.or(session);
        self.id = match (role, session) {
            // All users of a permission set of IAM Identity Center share one role, as those of
            // other federations do, and only the session name identifies the person. Sessions of
            // software are named after tasks and instances: as principals of their own, they would
            // always be new.
            (Some(role), Some(person)) if self.kind == PrincipalKind::Human => {
                Some(format!("{role}/{person}").into())
            }
            (Some(role), _) => Some(role),
            (None, _) => self.without_arn(),
        };
        self.name = name
            .or(identity.session_issuer().user_name.get())
            .map(Cow::Borrowed)
            .or(self.name.take());
        self.session = session.map(Cow::Borrowed);
    }

    /// A session that an IAM user or the root user created for somebody, under any name: the issuer
    /// is responsible for it.
    fn fold_federated_user(&mut self, identity: &'r wire::UserIdentity<'_>) {
        self.id = lent(&identity.session_issuer().arn).or_else(|| self.actor.clone());
        self.session = identity.arn.get().map(last_segment).map(Cow::Borrowed);
        self.kind = PrincipalKind::Human;
    }

    fn fold_root(&mut self) {
        self.id = self.actor.clone().or_else(|| {
            let account = self.account.as_deref()?;
            Some(format!("arn:aws:iam::{account}:root").into())
        });
        // `userName` is present only if the account has an alias, and is that alias.
        self.name = self.name.take().or(Some("root".into()));
        self.kind = PrincipalKind::Root;
    }

    /// A person in IAM Identity Center without a role: only the identity store identifies them.
    fn fold_identity_center_user(&mut self, identity: &'r wire::UserIdentity<'_>) {
        let person = &identity.on_behalf_of;
        let named = person.identity_store_arn.get().zip(person.user_id.get());
        self.id = named
            .map(|(store, user)| format!("{store}/{user}").into())
            .or_else(|| self.without_arn());
        self.kind = PrincipalKind::Human;
    }

    fn fold_user(&mut self, identity: &'r wire::UserIdentity<'_>) {
        self.id = self.actor.clone().or_else(|| self.without_arn());
        self.name = self
            .name
            .take()
            .or_else(|| identity.arn.get().map(last_segment).map(Cow::Borrowed));
        self.kind = PrincipalKind::Human;
    }

    fn fold_service(&mut self) {
        self.id = self.via.clone().or_else(|| self.without_arn());
        self.name = self.via.clone();
        self.kind = PrincipalKind::Service;
    }

    /// `account:principal id` without the session; only the account if the principal id is empty,
    /// as for `anonymous` callers.
    fn without_arn(&self) -> Option<Cow<'r, str>> {
        let account = self.account.as_deref()?;
        let id = self.principal_id.as_deref().unwrap_or_default();
        // `AROA…:session`: with the session, each task of a role would be a principal of its own.
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

/// The parts of a role session ARN: `arn:…:sts::account:assumed-role/Role/Session`.
#[derive(Clone, Copy)]
struct RoleSession<'a> {
    arn: ArnParts<'a>,
    /// Name of the role.
    role: &'a str,
    /// Name of the session.
    name: &'a str,
}

impl<'a> RoleSession<'a> {
    /// `None` for any other ARN.
    fn parse(arn: &'a str) -> Option<Self> {
        let arn = ArnParts::parse(arn)?;
        let path = arn.resource.strip_prefix("assumed-role/")?;
        let (role, name) = path.split_once('/')?;
        Some(Self { arn, role, name })
    }

    /// ARN of the role, without its path, which a session ARN lacks.
    fn role_arn(self) -> String {
        let Self { arn, role, .. } = self;
        format!("arn:{}:iam::{}:role/{role}", arn.partition, arn.account)
    }
}

/// ARN of the role of a session, by the ARN of the session; without the path of the role. `None`
/// for any other ARN.
#[must_use]
pub fn role_of_session(arn: &str) -> Option<String> {
    RoleSession::parse(arn).map(RoleSession::role_arn)
}

/// ARN of the role behind a session.
fn role_arn<'r>(
    identity: &'r wire::UserIdentity<'_>,
    session: Option<RoleSession<'_>>,
) -> Option<Cow<'r, str>> {
    // Policies name roles with their path. The session ARN lacks it and the issuer's ARN has it;
    // but the issuer is often an empty object.
    lent(&identity.session_issuer().arn).or_else(|| Some(session?.role_arn().into()))
}

/// Name of the role behind a session, from the best available ARN.
fn role_name<'r>(
    identity: &'r wire::UserIdentity<'_>,
    session: Option<RoleSession<'r>>,
) -> Option<&'r str> {
    let issuer = identity.session_issuer().arn.get();
    issuer
        .or(session.map(|session| session.role))
        .or(identity.arn.get())
        .map(last_segment)
}

/// Name of a session, from its ARN or else from `principalId` (`AROA…:session`).
fn session_name<'r>(
    identity: &'r wire::UserIdentity<'_>,
    session: Option<RoleSession<'r>>,
) -> Option<&'r str> {
    session
        .map(|session| session.name)
        .or_else(|| Some(identity.principal_id.get()?.split_once(':')?.1))
}

/// Whether a name is a mail address, as federations name the sessions of people.
pub(crate) fn is_mail_address(name: &str) -> bool {
    let Some((person, domain)) = name.split_once('@') else {
        return false;
    };
    let mut labels = domain.split('.');
    let top = labels.next_back().unwrap_or_default();
    let mut labels = labels.peekable();
    !person.is_empty()
        && labels.peek().is_some()
        && labels.all(|label| !label.is_empty() && !label.contains('@'))
        && top.len() >= 2
        && top.bytes().all(|byte| byte.is_ascii_alphabetic())
        // Agents of AWS and addresses of service accounts are no people.
        && !domain.ends_with(".gserviceaccount.com")
        && !is_host(person, domain)
}

/// Whether a user and a domain are those of a shell on a host, as scripts name their sessions, and
/// no mail address: `root@web-1.example.com`, `app@ip-10-0-1-5.eu-west-1.compute.internal`.
fn is_host(user: &str, domain: &str) -> bool {
    const USERS: [&str; 5] = ["root", "ec2-user", "ubuntu", "nobody", "www-data"];
    const DOMAINS: [&str; 4] = [
        ".internal",
        ".localdomain",
        ".compute.amazonaws.com",
        ".compute-1.amazonaws.com",
    ];
    let address = domain.strip_prefix("ip-");
    USERS.contains(&user)
        || DOMAINS.iter().any(|end| domain.ends_with(end))
        || address.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Kind of caller behind a role, judged by the role's name and ARN.
fn kind_of_role(name: Option<&str>, arn: Option<&str>) -> PrincipalKind {
    // IAM Identity Center names the roles of its permission sets like this, and puts them below
    // this path, whatever their name.
    let is_permission_set = name.is_some_and(|name| name.starts_with("AWSReservedSSO_"))
        || arn.is_some_and(is_permission_set);
    if is_permission_set {
        PrincipalKind::Human
    } else if arn.is_some_and(|arn| arn.contains(":role/aws-service-role/")) {
        PrincipalKind::Service
    } else {
        PrincipalKind::Workload
    }
}

fn lent<'r>(scalar: &'r wire::LenientScalar<'_>) -> Option<Cow<'r, str>> {
    scalar.get().map(Cow::Borrowed)
}

/// Whether an ARN is that of a role of IAM Identity Center.
fn is_permission_set(arn: &str) -> bool {
    // The short text first: only texts of up to 32 bytes are searched without preparation.
    arn.contains(":role/aws-reserved/") && arn.contains(":role/aws-reserved/sso.amazonaws.com/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(identity: &str) -> Principal {
        let record =
            format!(r#"{{"userIdentity":{identity},"recipientAccountId":"111122223333"}}"#);
        let record = serde_json::from_str::<wire::CloudTrailRecord<'_>>(&record).unwrap();
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
        let issuer = r#"{"type":"Role","arn":"arn:aws:iam::111122223333:role/team/app",
            "accountId":"111122223333","userName":"app"}"#;
        let with = format!(
            r#"{{"type":"AssumedRole","arn":"{session}","principalId":"AROA1:i-0abc",
            "accountId":"111122223333","sessionContext":{{"sessionIssuer":{issuer}}}}}"#
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
        let name = "AWSReservedSSO_Admin_0123456789abcdef";
        let path = "aws-reserved/sso.amazonaws.com/eu-west-1";
        let role = format!("arn:aws:iam::111122223333:role/{path}/{name}");
        let identity = format!(
            r#"{{"type":"AssumedRole",
            "arn":"arn:aws:sts::111122223333:assumed-role/{name}/ann@example.com",
            "sessionContext":{{"sessionIssuer":{{"arn":"{role}"}}}}}}"#
        );
        check(
            &identity,
            Some(&format!("{role}/ann@example.com")),
            PrincipalKind::Human,
        );
    }

    #[test]
    fn a_person_of_a_federation_or_of_a_permission_set_with_any_name_keeps_the_name() {
        let session = |role: &str, path: &str, name: &str, context: &str| {
            format!(
                r#"{{"type":"AssumedRole","principalId":"AROA:{name}","accountId":"111122223333",
                "arn":"arn:aws:sts::111122223333:assumed-role/{role}/{name}",
                "sessionContext":{{"sessionIssuer":{{
                "arn":"arn:aws:iam::111122223333:role/{path}{role}","userName":"{role}"}}{context}}}}}"#
            )
        };
        let sso = "aws-reserved/sso.amazonaws.com/eu-west-1/";
        let eve = r#","sourceIdentity":"eve@example.com""#;
        for (path, name, context, person) in [
            ("", "eve@example.com", "", Some("eve@example.com")),
            ("", "task-1", eve, Some("eve@example.com")),
            (sso, "gina", "", Some("gina")),
            ("", "i-0123", "", None),
            ("", "@me", "", None),
            ("", "git@host", "", None),
            ("", "a@b@example.com", "", None),
            ("", "run@7.8", "", None),
        ] {
            let found = principal(&session("Dev", path, name, context));
            let role = format!("arn:aws:iam::111122223333:role/{path}Dev");
            let expected = person.map_or_else(|| role.clone(), |person| format!("{role}/{person}"));
            assert_eq!(found.id.as_deref(), Some(&*expected), "{name}");
            assert_eq!(found.kind == PrincipalKind::Human, person.is_some());
            assert_eq!(found.role_of_person(), person.map(|_| &*role));
        }
    }

    #[test]
    fn an_arn_tells_more_than_the_type() {
        let role = principal(
            r#"{"type":"IAMUser","principalId":"AROA:s",
            "arn":"arn:aws:sts::111122223333:assumed-role/sync/s"}"#,
        );
        assert_eq!(
            role.id.as_deref(),
            Some("arn:aws:iam::111122223333:role/sync")
        );
        assert_eq!(role.kind, PrincipalKind::Workload);
        assert_eq!(role.account.as_deref(), Some("111122223333"));
        let user = principal(r#"{"arn":"arn:aws:iam::111122223333:user/eve"}"#);
        assert_eq!(
            (user.kind, user.name.as_deref()),
            (PrincipalKind::Human, Some("eve"))
        );
        let root = principal(r#"{"arn":"arn:aws:iam::111122223333:root"}"#);
        assert_eq!(root.kind, PrincipalKind::Root);
        let named = principal(r#"{"userName":"eve"}"#);
        assert_eq!(named.id.as_deref(), Some("eve"));
    }

    #[test]
    fn the_other_types_keep_what_they_have() {
        check(
            r#"{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann","userName":"ann"}"#,
            Some("arn:aws:iam::111122223333:user/ann"),
            PrincipalKind::Human,
        );
        check(
            r#"{"type":"IAMUser","principalId":"AIDA1","accountId":"111122223333",
            "accessKeyId":""}"#,
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

    #[test]
    fn who_stands_behind_a_session_answers_for_it() {
        let federated = check(
            r#"{"type":"FederatedUser","arn":"arn:aws:sts::111122223333:federated-user/guest",
            "sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:user/ann"}}}"#,
            Some("arn:aws:iam::111122223333:user/ann"),
            PrincipalKind::Human,
        );
        assert_eq!(federated.session.as_deref(), Some("guest"));
        check(
            r#"{"type":"IdentityCenterUser","accountId":"111122223333","onBehalfOf":
            {"userId":"u-1","identityStoreArn":"arn:aws:identitystore::111122223333:store/d-1"}}"#,
            Some("arn:aws:identitystore::111122223333:store/d-1/u-1"),
            PrincipalKind::Human,
        );
        let service_linked = "role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS";
        check(
            &format!(
                r#"{{"type":"AssumedRole","sessionContext":
                {{"sessionIssuer":{{"arn":"arn:aws:iam::111122223333:{service_linked}"}}}}}}"#
            ),
            Some(&format!("arn:aws:iam::111122223333:{service_linked}")),
            PrincipalKind::Service,
        );
    }

    #[test]
    fn a_console_caller_is_a_person_unless_it_is_the_root_user() {
        let kind = |identity_type: &str, console: &str| {
            let record = format!(
                r#"{{"userIdentity":{{"type":"{identity_type}","accountId":"111122223333"}},
                "sessionCredentialFromConsole":{console}}}"#
            );
            let record: wire::CloudTrailRecord<'_> = serde_json::from_str(&record).unwrap();
            Principal::of(&record).kind
        };
        assert_eq!(kind("AssumedRole", "null"), PrincipalKind::Workload);
        // AWS writes a string, not a boolean.
        assert_eq!(kind("AssumedRole", "\"true\""), PrincipalKind::Human);
        assert_eq!(kind("Root", "\"true\""), PrincipalKind::Root);
    }

    #[test]
    fn the_session_joins_a_read_and_its_decrypt_and_the_role_does_not() {
        let of_task = |task: &str| {
            let arn = format!("arn:aws:sts::111122223333:assumed-role/app/{task}");
            principal(&format!(r#"{{"type":"AssumedRole","arn":"{arn}"}}"#))
        };
        let (one, other) = (of_task("i-1"), of_task("i-2"));
        assert_eq!(one.id, other.id);
        assert_ne!(one.actor_key(), other.actor_key());
    }
}
