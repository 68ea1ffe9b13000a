//! Under which keys an access is remembered, and which are needed to judge it.
//!
//! What a principal does is its profile: keys that begin with [`PROFILE`], then the principal, a
//! tab and a short token. The tokens of a principal are few, whatever it does, so that a store can
//! keep them in one item.

use twox_hash::XxHash3_64;

use super::{Sighting, since_key};
use crate::access::{Access, AccessMethod};
use crate::client::ClientProgram;
use crate::ids::{SecretRef, SharedStr};
use crate::network::{SourceClass, network_of};
use crate::observation::{CallOutcome, SecretChange};
use crate::principal::PrincipalKind;

/// Prefix of the keys of a profile.
const PROFILE: &str = "profile\n";

/// Networks of one class are counted by this many slots: a principal in all of them comes from
/// networks that never repeat. About eight networks fill them.
pub(super) const ROAM_SLOTS: u64 = 4;

/// Programs are remembered by this many slots.
const CLIENT_SLOTS: u64 = 64;

/// Different secrets of a day are counted by this many slots.
pub(super) const SECRET_SLOTS: u64 = 32;

/// The keys of an access. `None` where the record does not tell.
#[derive(Debug, Default)]
pub(super) struct AccessKeys {
    pub(super) principal_secret: Option<SharedStr>,
    pub(super) principal: Option<SharedStr>,
    pub(super) region: Option<SharedStr>,
    /// The principal with this network.
    pub(super) source: Option<SharedStr>,
    /// The network, among the reads of the secret's account.
    pub(super) account_source: Option<SharedStr>,
    pub(super) profile: ProfileKeys,
    /// When the secret was created.
    pub(super) created: Option<SharedStr>,
}

/// Keys of the profile of a principal.
#[derive(Debug, Default)]
pub(super) struct ProfileKeys {
    pub(super) class: Option<SharedStr>,
    pub(super) client: Option<SharedStr>,
    pub(super) method: Option<SharedStr>,
    /// The person behind a session, with whatever role.
    pub(super) person: Option<SharedStr>,
    /// Whether the principal reads pending versions.
    pub(super) rotates: Option<SharedStr>,
    /// Of a person: this hour of the day, then the hours beside it.
    pub(super) hours: Vec<SharedStr>,
    /// Prefix of the slots of the class: see [`ProfileKeys::roam_slots`].
    roam: Option<String>,
    /// The slot of this network.
    roam_slot: Option<SharedStr>,
    /// Prefix of the slots of secrets.
    secrets: Option<String>,
    secret_slot: Option<SharedStr>,
}

impl ProfileKeys {
    fn of(access: &Access, principal: &str, network: Option<&str>) -> Self {
        let head = &access.head;
        let token = |token: String| SharedStr::from(format!("{PROFILE}{principal}\t{token}"));
        let class = class_of(access).map(SourceClass::as_str);
        let agent = head
            .source
            .user_agent
            .as_deref()
            .filter(|_| class.is_some());
        let client = agent.and_then(ClientProgram::of);
        // A caller may choose any name, and must not fill the memory with them.
        let client = client.map(|client| format!("c{}", slot(&client.family, CLIENT_SLOTS)));
        let roam = class.map(|class| format!("{PROFILE}{principal}\tn{class}"));
        let secrets = format!("{PROFILE}{principal}\ts");
        let named = access.secret.name.is_some();
        let secret = named.then(|| slot(&access.secret.key().to_text(), SECRET_SLOTS));
        Self {
            class: class.map(|class| token(format!("k{class}"))),
            client: client.map(token),
            method: Some(token(format!("m{}", access.method.as_str()))),
            person: person_key(access),
            rotates: Some(token("r".to_owned())),
            hours: hours_of(access)
                .map(|hour| token(format!("h{hour}")))
                .collect(),
            roam_slot: roam
                .as_ref()
                .zip(network)
                .map(|(roam, network)| format!("{roam}{}", slot(network, ROAM_SLOTS)).into()),
            roam,
            secret_slot: secret.map(|slot| format!("{secrets}{slot}").into()),
            secrets: Some(secrets),
        }
    }

    /// The slots of networks of this class.
    pub(super) fn roam_slots(&self) -> impl Iterator<Item = SharedStr> + '_ {
        slots(self.roam.as_deref(), ROAM_SLOTS)
    }

    /// The slots of secrets.
    pub(super) fn secret_slots(&self) -> impl Iterator<Item = SharedStr> + '_ {
        slots(self.secrets.as_deref(), SECRET_SLOTS)
    }
}

fn slots(prefix: Option<&str>, number: u64) -> impl Iterator<Item = SharedStr> + '_ {
    let numbers = (0..number).filter(move |_| prefix.is_some());
    numbers.map(move |slot| format!("{}{slot}", prefix.unwrap_or_default()).into())
}

/// The same on every machine: it is part of a key in a table.
fn slot(text: &str, slots: u64) -> u64 {
    XxHash3_64::oneshot(text.as_bytes()) % slots
}

/// The class of an access's source, as its address shows it. A KMS Decrypt is made by a service.
fn class_of(access: &Access) -> Option<SourceClass> {
    let is_own = access.method != AccessMethod::DecryptOnly;
    let class = SourceClass::by_shape(&access.head.source).filter(|_| is_own);
    class.filter(|class| *class != SourceClass::AwsService)
}

fn person_key(access: &Access) -> Option<SharedStr> {
    let principal = &access.head.principal;
    let is_person = principal.kind == PrincipalKind::Human;
    let name = principal.session.as_deref().or(principal.name.as_deref());
    let name = name.filter(|_| is_person)?;
    Some(format!("person\n{}\n{name}", access.head.account).into())
}

/// The hour of the day of a person's access in UTC, and those beside it; none for others.
fn hours_of(access: &Access) -> impl Iterator<Item = i64> {
    let is_person = access.head.principal.kind == PrincipalKind::Human;
    let hour = access.head.time.0.div_euclid(3_600);
    let around = [hour, hour - 1, hour + 1].into_iter();
    around
        .map(|hour| hour.rem_euclid(24))
        .filter(move |_| is_person)
}

fn created_key(secret: &SecretRef) -> Option<SharedStr> {
    secret.name.as_ref()?;
    Some(format!("created\n{}", secret.key().to_text()).into())
}

impl AccessKeys {
    pub(super) fn of(access: &Access) -> Self {
        let principal = access.head.principal.id.as_deref();
        // Without a name, one key would stand for every unnamed secret of the store.
        let named = access.secret.name.is_some();
        let (account, region) = (&access.secret.account, &access.secret.region);
        let network = class_of(access).and_then(|_| network_of(&access.head.source));
        let network = network.as_deref();
        Self {
            principal_secret: principal
                .filter(|_| named)
                .map(|p| format!("pair\n{p}\n{}", access.secret.key().to_text()).into()),
            principal: principal.map(|p| format!("principal\n{p}").into()),
            region: Some(format!("region\n{account}\n{region}").into()),
            source: principal
                .zip(network)
                .map(|(p, network)| format!("source\n{p}\n{network}").into()),
            account_source: network.map(|network| format!("network\n{account}\n{network}").into()),
            profile: principal
                .map(|p| ProfileKeys::of(access, p, network))
                .unwrap_or_default(),
            created: created_key(&access.secret),
        }
    }

    /// The keys to record at the time of an access.
    fn recorded(self, is_rotation: bool) -> impl Iterator<Item = SharedStr> {
        let ProfileKeys {
            class,
            client,
            method,
            person,
            roam_slot,
            secret_slot,
            mut hours,
            rotates,
            ..
        } = self.profile;
        hours.truncate(1);
        [
            self.principal_secret,
            self.principal,
            self.region,
            self.source,
            self.account_source,
            class,
            client,
            method,
            person,
            roam_slot,
            secret_slot,
            rotates.filter(|_| is_rotation),
        ]
        .into_iter()
        .flatten()
        .chain(hours)
    }

    /// The keys that decide about an access.
    pub(super) fn deciding(&self) -> impl Iterator<Item = SharedStr> + '_ {
        let profile = &self.profile;
        [
            &self.principal_secret,
            &self.principal,
            &self.region,
            &self.source,
            &self.account_source,
            &self.created,
            &profile.class,
            &profile.client,
            &profile.method,
            &profile.person,
            &profile.rotates,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .chain(profile.hours.iter().cloned())
        .chain(profile.roam_slots())
        .chain(profile.secret_slots())
    }
}

/// The sightings to record for an access: its keys at its event time. None unless it succeeded.
pub fn remembered(access: &Access) -> impl Iterator<Item = Sighting> + use<> {
    let time = access.head.time;
    // A denied attempt must not make an attacker known before the first read that succeeds.
    // Only the function that rotates a secret has a use for the value that is not in force yet.
    let is_rotation = access.secret.version_stage.as_deref() == Some("AWSPENDING");
    let keys = (access.head.outcome == CallOutcome::Success).then(|| AccessKeys::of(access));
    keys.into_iter()
        .flat_map(move |keys| keys.recorded(is_rotation))
        .map(move |key| Sighting { key, time })
}

/// The sighting to record for a change: that it created a secret.
#[must_use]
pub fn remembered_change(change: &SecretChange) -> Option<Sighting> {
    let head = &change.head;
    let creates = &*head.api == "CreateSecret" && head.outcome == CallOutcome::Success;
    let key = creates
        .then_some(change.secret.as_ref())
        .flatten()
        .and_then(created_key)?;
    Some(Sighting {
        key,
        time: head.time,
    })
}

/// The keys that decide about an access, with when the logs of its account begin.
pub(super) fn needed_for(access: &Access) -> impl Iterator<Item = SharedStr> {
    let keys: Vec<SharedStr> = AccessKeys::of(access).deciding().collect();
    keys.into_iter().chain([since_key(&access.head.account)])
}

/// The part of a key by which a store may keep several in one item, and the rest.
#[must_use]
pub fn item_of(key: &str) -> (&str, Option<&str>) {
    match key.rsplit_once('\t') {
        Some((item, token)) if key.starts_with(PROFILE) => (item, Some(token)),
        _ => (key, None),
    }
}
