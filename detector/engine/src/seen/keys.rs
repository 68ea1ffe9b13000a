//! Under which keys an access is remembered, and which are needed to judge it.
//!
//! What a principal does is its profile: keys that begin with [`PROFILE`], then the principal, a
//! tab and a short token. The tokens of a principal are few, whatever it does, so that a store can
//! keep them in one item.

use ahash::HashSet;
use twox_hash::XxHash3_64;

use super::{Sighting, since_key};
use crate::{
    access::{Access, AccessMethod},
    client::ClientProgram,
    ids::{SecretRef, SharedStr, is_long_term_key},
    network::{SourceClass, network_of},
    observation::{CallOutcome, SecretChange},
    principal::PrincipalKind,
};

/// Prefix of the keys of a profile.
const PROFILE: &str = "profile\n";

/// Prefix of the keys of what happens to a secret, in one item of a store as well.
const OF_SECRET: &str = "secret\n";

/// Who writes values of a secret is remembered by this many slots.
const WRITER_SLOTS: u64 = 64;

/// Networks of one class are counted by this many slots.
const ROAM_SLOTS: u64 = 8;

/// A principal in this many of the slots comes from networks that never repeat: about seven
/// networks fill them, and four that are always the same never do.
pub(super) const ROAMING: usize = 5;

/// Programs that are not known by name are remembered by this many slots.
pub(super) const CLIENT_SLOTS: u64 = 32;

/// Autonomous systems are remembered by this many slots: a principal has few.
const ASN_SLOTS: u64 = 64;

/// Long-term access keys are remembered by this many slots: a user has two at a time.
const KEY_SLOTS: u64 = 64;

/// Folders of secrets are remembered by this many slots: a principal reads from few, and one that
/// reads from many may be taken for a reader of one more.
const FOLDER_SLOTS: u64 = 256;

/// Different secrets of a day are counted by this many slots in each layer.
pub(super) const SECRET_SLOTS: u64 = 64;

/// Each layer of slots takes one of so many secrets of the layer before: the first layer takes all
/// secrets, and is full at about two hundred, the last is full at about fourteen thousand.
pub(super) const SECRETS_OF_LAYER: u64 = 8;

/// Number of layers of slots.
pub(super) const SECRET_LAYERS: usize = 3;

/// The keys of an access. `None` where the record does not tell.
#[derive(Debug, Default)]
pub(crate) struct AccessKeys {
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
    /// When rotations of the secret began.
    pub(super) rotation: Option<SharedStr>,
    /// When the principal wrote values of the secret.
    pub(super) writer: Option<SharedStr>,
}

/// Keys of the profile of a principal.
#[derive(Debug, Default)]
pub(super) struct ProfileKeys {
    pub(super) class: Option<SharedStr>,
    pub(super) country: Option<SharedStr>,
    pub(super) asn: Option<SharedStr>,
    pub(super) client: Option<SharedStr>,
    /// The long-term access key.
    pub(super) access_key: Option<SharedStr>,
    /// The region of the calls. Rules do not ask for it: it is shown as usual.
    region: Option<SharedStr>,
    pub(super) method: Option<SharedStr>,
    /// The folder of the secret.
    pub(super) folder: Option<SharedStr>,
    /// The person behind a session, with whatever role.
    pub(super) person: Option<SharedStr>,
    /// Any class: whether the principal has habits at all.
    pub(super) classes: Vec<SharedStr>,
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
    /// The slots of this secret: one in each layer that takes it.
    slots_of_secret: Vec<SharedStr>,
}

impl ProfileKeys {
    fn of(access: &Access, principal: &str, network: Option<&str>, secret: Option<&str>) -> Self {
        let prefix = profile_key(principal, "");
        let class = class_of(access).map(SourceClass::as_str);
        let roam = class.map(|class| format!("{prefix}n{class}"));
        let secrets = format!("{prefix}s");
        Self {
            class: class.map(|class| key(&prefix, &format!("k{class}"))),
            country: class.and_then(|_| country_key(access, &prefix)),
            asn: class.and_then(|_| asn_key(access, &prefix)),
            classes: CLASSES
                .map(|class| key(&prefix, &format!("k{}", class.as_str())))
                .into(),
            client: class.and_then(|_| client_key(access, &prefix)),
            access_key: class.and_then(|_| long_term_key(access, &prefix)),
            region: region_token(&access.head.region).map(|region| key(&prefix, &region)),
            method: Some(key(&prefix, &format!("m{}", access.method.as_str()))),
            folder: folder_key(access, &prefix),
            person: person_key(access),
            rotates: Some(key(&prefix, "r")),
            hours: hours_of(access)
                .map(|hour| key(&prefix, &format!("h{hour}")))
                .collect(),
            roam_slot: roam
                .as_ref()
                .zip(network)
                .map(|(roam, network)| format!("{roam}{}", slot(network, ROAM_SLOTS)).into()),
            roam,
            slots_of_secret: secret
                .map(|secret| slots_of_secret(&secrets, secret))
                .unwrap_or_default(),
            secrets: Some(secrets),
        }
    }

    /// The slots of networks of this class.
    pub(super) fn roam_slots(&self) -> impl Iterator<Item = SharedStr> + '_ {
        slots(self.roam.as_deref(), ROAM_SLOTS)
    }

    /// The slots of secrets, with their layers.
    pub(super) fn secret_slots(&self) -> impl Iterator<Item = (usize, SharedStr)> + '_ {
        let all = slots(self.secrets.as_deref(), SECRET_SLOTS * SECRET_LAYERS as u64);
        all.enumerate()
            .map(|(index, slot)| (index / SECRET_SLOTS as usize, slot))
    }
}

/// The slots of a secret in the layers that take it.
fn slots_of_secret(prefix: &str, secret: &str) -> Vec<SharedStr> {
    let hash = XxHash3_64::oneshot(secret.as_bytes());
    // Whether a layer takes a secret must not depend on the slots that it has in it.
    let (upper, lower) = (hash >> 32, hash % SECRET_SLOTS);
    let layers = (0..SECRET_LAYERS as u32)
        .take_while(|layer| upper.is_multiple_of(SECRETS_OF_LAYER.pow(*layer)));
    layers
        .map(|layer| format!("{prefix}{}", u64::from(layer) * SECRET_SLOTS + lower).into())
        .collect()
}

fn country_key(access: &Access, prefix: &str) -> Option<SharedStr> {
    let country = access.head.source.geo.country.as_ref()?;
    Some(key(prefix, &format!("g{country}")))
}

fn asn_key(access: &Access, prefix: &str) -> Option<SharedStr> {
    let slot = slot(&access.head.source.geo.asn?.to_string(), ASN_SLOTS);
    Some(key(prefix, &format!("a{slot}")))
}

fn slots(prefix: Option<&str>, number: u64) -> impl Iterator<Item = SharedStr> + '_ {
    let numbers = (0..number).filter(move |_| prefix.is_some());
    numbers.map(move |slot| format!("{}{slot}", prefix.unwrap_or_default()).into())
}

/// The same on every machine: it is part of a key in a table.
fn slot(text: &str, slots: u64) -> u64 {
    XxHash3_64::oneshot(text.as_bytes()) % slots
}

fn key(prefix: &str, token: &str) -> SharedStr {
    [prefix, token].concat().into()
}

/// The key of a token in the profile of a principal.
pub(super) fn profile_key(principal: &str, token: &str) -> String {
    format!("{PROFILE}{principal}\t{token}")
}

/// The key of the folder; `None` without one.
fn folder_key(access: &Access, prefix: &str) -> Option<SharedStr> {
    let slot = slot(&folder_of(&access.secret)?, FOLDER_SLOTS);
    Some(key(prefix, &format!("f{slot}")))
}

/// The key of the program; `None` where the record names none.
fn client_key(access: &Access, prefix: &str) -> Option<SharedStr> {
    let program = ClientProgram::of(access.head.source.user_agent.as_deref()?)?;
    Some(key(prefix, &client_token(&program.family)))
}

/// The key of a long-term access key; `None` for those of sessions, which are always new.
fn long_term_key(access: &Access, prefix: &str) -> Option<SharedStr> {
    let id = access.head.access_key_id.as_deref()?;
    let slot = is_long_term_key(id).then(|| slot(id, KEY_SLOTS))?;
    Some(key(prefix, &format!("i{slot}")))
}

/// The token of a program by its family.
pub(super) fn client_token(family: &str) -> String {
    // A caller may choose any name, and must not fill the memory with them.
    if ClientProgram::known_families().any(|known| known == family) {
        format!("c{family}")
    } else {
        format!("c{}", slot(family, CLIENT_SLOTS))
    }
}

/// The token of a region; `None` for a name that no region has.
pub(super) fn region_token(region: &str) -> Option<String> {
    let mut parts = region.split('-');
    let is_short = region.len() <= 24 && parts.clone().count() > 2;
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let is_numbered = parts
        .next_back()
        .is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']));
    (is_short && is_numbered && parts.all(is_word)).then(|| format!("z{region}"))
}

/// Classes of addresses, as they show themselves.
pub(super) const CLASSES: [SourceClass; 3] = [
    SourceClass::Private,
    SourceClass::VpcEndpoint,
    SourceClass::Public,
];

/// The class of an access's source, as its address shows it. A KMS Decrypt is made by a service.
fn class_of(access: &Access) -> Option<SourceClass> {
    let is_own = access.method != AccessMethod::DecryptOnly;
    let class = SourceClass::by_shape(&access.head.source).filter(|_| is_own);
    class.filter(|class| *class != SourceClass::AwsService)
}

/// Only IAM Identity Center names its sessions after people: elsewhere callers choose the name.
fn person_key(access: &Access) -> Option<SharedStr> {
    let principal = &access.head.principal;
    let role = principal.role_of_person()?;
    let is_permission_set =
        role.contains("/AWSReservedSSO_") || role.contains(":role/aws-reserved/sso.amazonaws.com/");
    let name = principal.session.as_deref().filter(|_| is_permission_set)?;
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

/// The identity of a secret in keys; `None` without a name, for which one key would stand for every
/// unnamed secret of the store.
fn named(secret: &SecretRef) -> Option<String> {
    secret.name.is_some().then(|| secret.key().to_text())
}

/// The folder of a secret in both stores: account and the first two parts of its path, which mostly
/// name an environment and an application. `None` for a path of fewer than three parts, whose
/// folder may hold the secrets of everybody.
fn folder_of(secret: &SecretRef) -> Option<String> {
    let name = secret.name.as_deref()?;
    let mut parts = name.trim_start_matches('/').split('/');
    let (environment, application) = (parts.next()?, parts.next()?);
    parts.next()?;
    let account = &secret.account;
    Some(format!("{account}\n{environment}/{application}"))
}

/// The key of something that happens to a secret.
fn of_secret(secret: &str, token: &str) -> SharedStr {
    format!("{OF_SECRET}{secret}\t{token}").into()
}

fn created_key(secret: &str) -> SharedStr {
    of_secret(secret, "created")
}

fn rotation_key(secret: &str) -> SharedStr {
    of_secret(secret, "rotation")
}

fn writer_key(secret: &str, principal: &str) -> SharedStr {
    of_secret(secret, &format!("writer{}", slot(principal, WRITER_SLOTS)))
}

impl AccessKeys {
    /// The keys of an access: made once, to record it, to look up what is known, and to judge it.
    pub(crate) fn of(access: &Access) -> Self {
        let principal = access.head.principal.id.as_deref();
        let secret = named(&access.secret);
        let secret = secret.as_deref();
        let (account, region) = (&access.secret.account, &access.secret.region);
        let network = class_of(access).and_then(|_| network_of(&access.head.source));
        let network = network.as_deref();
        Self {
            principal_secret: principal
                .zip(secret)
                .map(|(p, secret)| format!("pair\n{p}\n{secret}").into()),
            principal: principal.map(|p| format!("principal\n{p}").into()),
            region: Some(format!("region\n{account}\n{region}").into()),
            source: principal
                .zip(network)
                .map(|(p, network)| format!("source\n{p}\n{network}").into()),
            account_source: network.map(|network| format!("network\n{account}\n{network}").into()),
            profile: principal
                .map(|p| ProfileKeys::of(access, p, network, secret))
                .unwrap_or_default(),
            created: secret.map(created_key),
            rotation: secret.map(rotation_key),
            writer: secret
                .zip(principal)
                .map(|(secret, p)| writer_key(secret, p)),
        }
    }

    /// The keys to record at the time of an access.
    fn recorded(&self, is_rotation: bool) -> impl Iterator<Item = &SharedStr> {
        let profile = &self.profile;
        [
            &self.principal_secret,
            &self.principal,
            &self.region,
            &self.source,
            &self.account_source,
            &profile.class,
            &profile.country,
            &profile.asn,
            &profile.client,
            &profile.access_key,
            &profile.region,
            &profile.method,
            &profile.folder,
            &profile.person,
            &profile.roam_slot,
        ]
        .into_iter()
        .flatten()
        .chain(&profile.slots_of_secret)
        .chain(profile.rotates.as_ref().filter(|_| is_rotation))
        .chain(profile.hours.first())
    }

    /// The keys that decide about an access, without those of whole profiles.
    fn deciding(&self) -> impl Iterator<Item = SharedStr> + '_ {
        let profile = &self.profile;
        [
            &self.principal_secret,
            &self.principal,
            &self.region,
            &self.source,
            &self.account_source,
            &self.created,
            &self.rotation,
            &self.writer,
            &profile.class,
            &profile.country,
            &profile.asn,
            &profile.client,
            &profile.access_key,
            &profile.method,
            &profile.folder,
            &profile.person,
            &profile.rotates,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .chain(profile.hours.iter().cloned())
    }
}

/// The sightings to record for an access: its keys at its event time. None unless it succeeded.
pub fn remembered(access: &Access) -> impl Iterator<Item = Sighting> + use<> {
    let keys = AccessKeys::of(access);
    let sightings: Vec<Sighting> = remembered_by(access, &keys).collect();
    sightings.into_iter()
}

/// Like [`remembered`], with the keys of the access.
pub(crate) fn remembered_by<'k>(
    access: &Access,
    keys: &'k AccessKeys,
) -> impl Iterator<Item = Sighting> + use<'k> {
    let time = access.head.time;
    // Only the function that rotates a secret has a use for the value that is not in force yet.
    let is_rotation = access.secret.version_stage.as_deref() == Some("AWSPENDING");
    // A denied attempt must not make an attacker known before the first read that succeeds.
    let keys = (access.head.outcome == CallOutcome::Success).then_some(keys);
    let keys = keys
        .into_iter()
        .flat_map(move |keys| keys.recorded(is_rotation));
    keys.cloned().map(move |key| Sighting { key, time })
}

/// Like [`remembered`], of an access whose method is not known for certain yet: that of a batch is
/// known only when its calls are joined.
pub fn remembered_early(access: &Access) -> impl Iterator<Item = Sighting> + use<> {
    remembered(access).filter(|sighting| {
        let token = item_of(&sighting.key).1;
        !token.is_some_and(|token| token.starts_with('m'))
    })
}

/// The sighting to record for a change: that it created a secret, wrote a value, or that its
/// rotation began.
#[must_use]
pub fn remembered_change(change: &SecretChange) -> Option<Sighting> {
    let head = &change.head;
    let secret = change.secret.as_ref();
    let secret = named(secret.filter(|_| head.outcome == CallOutcome::Success)?)?;
    let key = match &*head.api {
        "CreateSecret" => created_key(&secret),
        "RotationStarted" => rotation_key(&secret),
        "PutSecretValue" => writer_key(&secret, head.principal.id.as_deref()?),
        _ => return None,
    };
    Some(Sighting {
        key,
        time: head.time,
    })
}

/// The keys that decide about accesses, with when the logs of their accounts begin.
pub(super) fn needed_for<'a>(
    accesses: impl Iterator<Item = (&'a Access, &'a AccessKeys)>,
) -> HashSet<SharedStr> {
    let mut needed = HashSet::default();
    // The keys of a whole profile are many, and the same for all accesses of a principal.
    let mut profiles: HashSet<(Option<SharedStr>, Option<SharedStr>)> = HashSet::default();
    for (access, keys) in accesses {
        let profile = (keys.principal.clone(), keys.profile.class.clone());
        if profiles.insert(profile) {
            needed.extend(keys.profile.roam_slots());
            needed.extend(keys.profile.secret_slots().map(|(_, slot)| slot));
            needed.extend(keys.profile.classes.iter().cloned());
        }
        needed.extend(keys.deciding());
        needed.insert(since_key(&access.head.account));
    }
    needed
}

/// The part of a key by which a store may keep several in one item, and the rest.
#[must_use]
pub fn item_of(key: &str) -> (&str, Option<&str>) {
    match key.rsplit_once('\t') {
        Some((item, token)) if key.starts_with(PROFILE) || key.starts_with(OF_SECRET) => {
            (item, Some(token))
        }
        _ => (key, None),
    }
}
