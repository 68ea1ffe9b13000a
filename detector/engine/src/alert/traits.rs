//! What the calls of an alert have been made with and from.

use crate::{
    actor::{callers, first_of},
    client::ClientProgram,
    evidence::Evidence,
    ids::SharedStr,
    limits::ALERT_SECRETS,
    observation::{CallOutcome, EventHeader},
    revealed::{RevealedVersion, RevealedVersions},
};

/// What the calls of an alert have been made with and from: of each the first [`ALERT_TRAITS`]
/// distinct values, in the order of their first call; of versions the first [`ALERT_SECRETS`].
///
/// [`ALERT_TRAITS`]: crate::limits::ALERT_TRAITS
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertTraits {
    /// Secrets whose values were read: ARNs where known, otherwise names.
    pub revealed: Vec<SharedStr>,
    /// The versions of these that were read.
    pub versions: RevealedVersions,
    /// Addresses of the callers, and where these are registered, as in [`CallSource::described`].
    ///
    /// [`CallSource::described`]: crate::observation::CallSource::described
    pub sources: Vec<SharedStr>,
    /// `awsRegion`.
    pub regions: Vec<SharedStr>,
    /// `userIdentity.arn`: full sessions.
    pub sessions: Vec<SharedStr>,
    /// `userIdentity.accessKeyId`.
    pub access_keys: Vec<SharedStr>,
    /// Programs, by their user agents: `aws-cli 2.15.0`.
    pub clients: Vec<SharedStr>,
}

impl AlertTraits {
    /// The traits of sorted evidence.
    pub(super) fn of(evidence: &[Evidence]) -> Self {
        let heads = evidence.iter().map(|e| &*e.head);
        let callers = callers(evidence);
        Self {
            revealed: first_of(evidence.iter().filter_map(revealed)),
            versions: RevealedVersions::of(evidence.iter().filter_map(version), ALERT_SECRETS),
            sources: first_of(callers.clone().filter_map(|head| head.source.described())),
            regions: first_of(heads.clone().map(|head| head.region.to_string())),
            sessions: first_of(heads.clone().filter_map(session)),
            access_keys: first_of(heads.filter_map(access_key)),
            clients: first_of(callers.filter_map(client)),
        }
    }
}

/// The secret that an event revealed; `None` if it revealed none.
fn revealed(evidence: &Evidence) -> Option<String> {
    let access = evidence.access.as_deref()?;
    let is_read = access.head.outcome == CallOutcome::Success;
    let secret = &access.secret;
    let name = secret.arn.as_deref().or(secret.name.as_deref());
    name.filter(|_| is_read).map(str::to_owned)
}

/// The version that an event revealed; `None` if it revealed none.
fn version(evidence: &Evidence) -> Option<RevealedVersion> {
    RevealedVersion::of(evidence.access.as_deref()?)
}

fn session(head: &EventHeader) -> Option<String> {
    head.principal.actor.as_deref().map(str::to_owned)
}

fn access_key(head: &EventHeader) -> Option<String> {
    head.access_key_id.as_deref().map(str::to_owned)
}

fn client(head: &EventHeader) -> Option<String> {
    let program = ClientProgram::of(head.source.user_agent.as_deref()?)?;
    Some(match program.version {
        Some(version) => format!("{} {version}", program.family),
        None => program.family.into_owned(),
    })
}
