//! Calls that issue temporary credentials.
//!
//! Sources: AWS IAM user guide, "Logging IAM and AWS STS API calls with AWS CloudTrail"; AWS
//! CloudTrail user guide, "CloudTrail userIdentity element".

use serde::{Deserialize, Serialize};

use crate::{
    document::{JsonNode, LazyDocument},
    ids::{ArnParts, SharedStr, is_long_term_key, last_segment},
    object::RecordOrigin,
    observation::Interner,
    principal::{Principal, PrincipalKind, is_mail_address},
    time::EventTime,
    wire::CloudTrailRecord,
};

/// Calls of STS whose response names the access key that they issue.
const CALLS: [&str; 6] = [
    "AssumeRole",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "AssumeRoot",
    "GetFederationToken",
    "GetSessionToken",
];

/// The name of IAM Identity Center as an identity provider.
const IDENTITY_CENTER: &str = "identity-center";

/// Whether a call issues credentials, by `eventSource` and `eventName`.
#[must_use]
pub fn issues(source: &str, api: &str) -> bool {
    source.starts_with("sts.") && CALLS.contains(&api)
}

/// What the caller is to the question who is behind a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CallerStanding {
    /// Nobody is before it: a user, the root user, a service, or somebody whom an identity provider
    /// knows.
    First,
    /// A session that is named after its person. Who created it may have chosen the name.
    Named,
    /// A session of a role: somebody got its credentials before.
    Session,
    /// The record does not say, as in another account's copy of an event.
    Unknown,
}

impl CallerStanding {
    /// The standing of a caller.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        let kind = principal.identity_type.as_deref();
        let actor = principal.actor.as_deref().unwrap_or_default();
        match principal.kind {
            PrincipalKind::Service | PrincipalKind::Root => Self::First,
            _ if matches!(kind, Some("SAMLUser" | "WebIdentityUser")) => Self::First,
            PrincipalKind::Human if kind == Some("FederatedUser") => Self::Named,
            PrincipalKind::Human if principal.role_of_person().is_some() => Self::Named,
            // Somebody uses the role in the console, and the session does not say who.
            PrincipalKind::Human if actor.contains(":assumed-role/") => Self::Session,
            PrincipalKind::Human => Self::First,
            PrincipalKind::Workload => Self::Session,
            // The owner's copy of a call from another account has only the number of a user.
            PrincipalKind::Unknown if is_user_number(principal) => Self::First,
            PrincipalKind::Unknown => Self::Unknown,
        }
    }

    /// Whether the caller is known to be the first, or is named.
    #[must_use]
    pub fn is_somebody(self) -> bool {
        matches!(self, Self::First | Self::Named)
    }
}

fn is_user_number(principal: &Principal) -> bool {
    let id = principal.principal_id.as_deref();
    id.is_some_and(|id| id.starts_with("AIDA"))
}

/// Who called for credentials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IssueCaller {
    /// What it is to the question who is behind a session.
    pub standing: CallerStanding,
    /// Kind of caller.
    pub kind: PrincipalKind,
    /// Stable identity, as [`Principal::id`]; of somebody whom an identity provider knows, the
    /// provider and the name there, as in `okta/ann@example.com` or
    /// `identity-center/ann@example.com`. `None` when the record identifies nobody.
    pub principal: Option<SharedStr>,
    /// `userIdentity.arn`: the full session; `None` for callers without an ARN.
    pub session: Option<SharedStr>,
    /// `userIdentity.accessKeyId`; `None` for services and for identity providers.
    pub access_key: Option<SharedStr>,
    /// The address or service that it called from, as [`CallSource::described`]. `None` of IAM
    /// Identity Center, which calls from an address of AWS and not from that of the person.
    ///
    /// [`CallSource::described`]: crate::observation::CallSource::described
    pub source: Option<SharedStr>,
    /// Whether the caller has proved a second factor: `requestParameters.serialNumber`, or else
    /// `userIdentity.sessionContext.attributes.mfaAuthenticated`; `None` where the record does not
    /// say, as of identity providers.
    pub mfa: Option<bool>,
    /// `requestParameters.sourceIdentity`, or else that of the session of the caller or of the
    /// response.
    pub source_identity: Option<SharedStr>,
}

/// A call that issued temporary credentials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CredentialIssue {
    /// `responseElements.credentials.accessKeyId`: the key that was issued.
    pub key: SharedStr,
    /// `eventTime`, in seconds since 1970, UTC.
    pub secs: i64,
    /// `eventID`; empty if the record has none.
    pub event_id: SharedStr,
    /// `eventName`, e.g. `AssumeRole`.
    pub api: SharedStr,
    /// `requestParameters.roleArn`: the role, with its path; `None` for calls without a role.
    pub role: Option<SharedStr>,
    /// ARN of the session that the key belongs to: `responseElements.assumedRoleUser.arn` or
    /// `.federatedUser.arn`. `None` for `GetSessionToken`, whose session is that of the caller.
    pub session: Option<SharedStr>,
    /// Who called.
    pub caller: IssueCaller,
}

impl CredentialIssue {
    /// The call of a record; `None` for other calls, and for those that issued nothing.
    #[must_use]
    pub fn of(
        record: &CloudTrailRecord<'_>,
        document: &LazyDocument<'_>,
        origin: &RecordOrigin,
        interner: &mut Interner,
    ) -> Option<Self> {
        let api = record.event_name.get()?;
        if !issues(record.event_source.get()?, api) || record.error_code.get().is_some() {
            return None;
        }
        // A record without a time still says who got the key.
        let time = record.event_time.get().and_then(EventTime::parse);
        let time = time.or(origin.delivered).unwrap_or(EventTime(0));
        let fields = IssueFields::of(document.node());
        let key = fields.response("credentials")?.get("accessKeyId")?;
        let key = key.as_text().filter(|key| !key.is_empty())?;
        let session = ["assumedRoleUser", "federatedUser"]
            .into_iter()
            .find_map(|user| fields.response(user)?.get("arn")?.as_text());
        Some(Self {
            key: key.into(),
            secs: time.0,
            event_id: record.event_id.get().unwrap_or_default().into(),
            api: interner.text(api),
            role: fields.request("roleArn").map(|role| interner.text(role)),
            session: session.map(SharedStr::from),
            caller: caller(record, &fields, interner),
        })
    }

    /// `eventTime`.
    #[must_use]
    pub fn time(&self) -> EventTime {
        EventTime(self.secs)
    }

    /// Who got the credentials: the role, or else the session.
    #[must_use]
    pub fn issued_to(&self) -> Option<&SharedStr> {
        self.role.as_ref().or(self.session.as_ref())
    }

    /// All of its texts.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut SharedStr> {
        let Self {
            key,
            secs: _,
            event_id,
            api,
            role,
            session,
            caller,
        } = self;
        let texts = [
            role,
            session,
            &mut caller.principal,
            &mut caller.session,
            &mut caller.access_key,
            &mut caller.source,
            &mut caller.source_identity,
        ];
        [key, event_id, api]
            .into_iter()
            .chain(texts.into_iter().flatten())
    }

    /// Which of two copies of one call says more about the caller, whatever their order: the
    /// account of the role logs a caller from another account without name and key.
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        let said = |issue: &Self| {
            let caller = &issue.caller;
            let known = [&caller.session, &caller.access_key, &caller.principal];
            known.into_iter().flatten().count()
        };
        (said(self), other) > (said(other), self)
    }
}

/// The parts of a record that are read beside its common fields.
struct IssueFields<'n, 'a> {
    record: &'n JsonNode<'a>,
    request: Option<&'n JsonNode<'a>>,
    response: Option<&'n JsonNode<'a>>,
}

impl<'n, 'a> IssueFields<'n, 'a> {
    fn of(record: &'n JsonNode<'a>) -> Self {
        Self {
            record,
            request: record.get("requestParameters"),
            response: record.get("responseElements"),
        }
    }

    fn request(&self, key: &str) -> Option<&'n str> {
        let text = self.request?.get(key)?.as_text()?;
        (!text.is_empty()).then_some(text)
    }

    fn response(&self, key: &str) -> Option<&'n JsonNode<'a>> {
        self.response?.get(key)
    }

    /// `userIdentity.sessionContext.attributes.mfaAuthenticated`: text, or a boolean.
    fn session_mfa(&self) -> Option<bool> {
        let context = self.record.get("userIdentity")?.get("sessionContext")?;
        match context.get("attributes")?.get("mfaAuthenticated")? {
            JsonNode::Bool(yes) => Some(*yes),
            JsonNode::Str(text) => match &**text {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

fn caller(
    record: &CloudTrailRecord<'_>,
    fields: &IssueFields<'_, '_>,
    interner: &mut Interner,
) -> IssueCaller {
    let principal = interner.principal(record);
    let identity = &record.user_identity.0;
    let provider = provider(record, fields);
    let is_identity_center = provider == Some(IDENTITY_CENTER);
    let source = interner.source(
        record.source_ip_address.get(),
        record.user_agent.get(),
        record.vpc_endpoint_id.get(),
    );
    let named = provider.zip(identity.user_name.get());
    let own = identity.session_context.source_identity.get();
    let given = fields
        .response("sourceIdentity")
        .and_then(JsonNode::as_text);
    let source_identity = fields.request("sourceIdentity").or(own).or(given);
    let id = match named {
        Some((provider, name)) => Some(format!("{provider}/{name}").into()),
        None => principal.id.clone(),
    };
    IssueCaller {
        standing: CallerStanding::of(&principal),
        kind: kind(&principal, identity.user_name.get()),
        principal: id,
        session: principal.actor.clone(),
        access_key: identity.access_key_id.get().map(SharedStr::from),
        source: match is_identity_center {
            true => None,
            false => source.described().map(|text| interner.text(&text)),
        },
        mfa: mfa(identity.access_key_id.get(), fields),
        source_identity: source_identity.map(|name| interner.text(name)),
    }
}

/// Whether a caller with this key has proved a second factor.
fn mfa(access_key: Option<&str>, fields: &IssueFields<'_, '_>) -> Option<bool> {
    // A call with the number of a device succeeds only with its code, and the key of a user alone
    // proves nothing else.
    match fields.request("serialNumber") {
        Some(_) => Some(true),
        None if access_key.is_some_and(is_long_term_key) => Some(false),
        None => fields.session_mfa(),
    }
}

/// Software proves who it is with tokens of an identity provider, and so do people: their names
/// there are mail addresses.
fn kind(principal: &Principal, name: Option<&str>) -> PrincipalKind {
    let is_web = principal.identity_type.as_deref() == Some("WebIdentityUser");
    match is_web && !name.is_some_and(is_mail_address) {
        true => PrincipalKind::Workload,
        false if principal.kind == PrincipalKind::Unknown && is_user_number(principal) => {
            PrincipalKind::Human
        }
        false => principal.kind,
    }
}

/// The name of the identity provider: that of its ARN, where the record has one. `None` for callers
/// with credentials of AWS.
fn provider<'n>(record: &'n CloudTrailRecord<'_>, fields: &IssueFields<'n, '_>) -> Option<&'n str> {
    let identity = &record.user_identity.0;
    let kind = identity.kind.get();
    if !matches!(kind, Some("SAMLUser" | "WebIdentityUser")) {
        return None;
    }
    let own = identity.identity_provider.get();
    // Of SAML, the record has a hash of the provider, and its ARN in the request.
    let named = fields.request("principalArn").or(own)?;
    Some(match ArnParts::parse(named) {
        Some(arn) => match arn.resource.strip_prefix("oidc-provider/") {
            Some(address) => address,
            None => match last_segment(arn.resource) {
                // Identity Center makes a provider of this name in each account.
                name if name.starts_with("AWSSSO_") => IDENTITY_CENTER,
                name => name,
            },
        },
        None => named,
    })
}
