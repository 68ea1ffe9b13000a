//! Changes to the versions of secrets are kept once, and lead to the incidents that revealed them.

use std::collections::BTreeSet;

use super::announced;
use crate::{
    actor::ActorKind,
    alert::IncidentId,
    exposure::changes::{ChangeFact, SecretName, VersionChange},
    ids::SecretStore,
    incident::announced::{AnnouncedExposure, AnnouncedIncident, IncidentEnd},
    observation::VersionStep,
    state::{ExposedMark, IncidentStore},
    time::EventTime,
};

/// A secret of this name.
fn secret(name: &str) -> SecretName {
    SecretName {
        store: SecretStore::SecretsManager,
        account: "111122223333".into(),
        region: "".into(),
        name: name.into(),
    }
}

/// A change by which a version of `prod/db` becomes current, for tests of stores.
#[must_use]
pub fn version_change(event: &str, secs: i64, version: &str) -> VersionChange {
    VersionChange {
        secret: secret("prod/db"),
        fact: ChangeFact {
            time: EventTime(secs),
            event: event.into(),
            step: VersionStep::Current {
                version_id: Some(version.into()),
                instead_of: None,
            },
            arn: Some("arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbC123".into()),
            region: "eu-west-1".into(),
            by: Some("arn:aws:iam::111122223333:role/rotator".into()),
            event_id: event.into(),
            api: "PutSecretValue".into(),
        },
    }
}

async fn changes_are_kept_once<S: IncidentStore>(store: &S) {
    let (one, two) = (version_change("a", 10, "v2"), version_change("b", 20, "v3"));
    let mut other = version_change("c", 30, "w2");
    other.secret = secret("prod/other");
    let batches = [
        vec![one.clone(), other.clone()],
        vec![one.clone()],
        vec![two.clone(), one.clone()],
    ];
    for batch in batches {
        store.put_version_changes(batch).await.expect("put");
    }
    let found = store
        .version_changes(&[secret("prod/db"), secret("none")])
        .await;
    let found = BTreeSet::from_iter(found.expect("changes"));
    assert_eq!(found, BTreeSet::from([one, two]));
    let found = store.version_changes(&[secret("prod/other")]).await;
    assert_eq!(found.expect("changes"), [other]);
}

/// That an incident of an actor has revealed a secret.
fn mark(name: &str, actor: &str, first: i64) -> ExposedMark {
    ExposedMark {
        secret: secret(name),
        actor: (ActorKind::Principal, actor.into()),
        first: EventTime(first),
    }
}

async fn incidents_are_found_by_what_they_revealed<S: IncidentStore>(store: &S) {
    let (ann, later) = (mark("prod/db", "ann", 10), mark("prod/db", "ann", 20));
    let bob = mark("prod/other", "bob", 10);
    for marks in [
        vec![ann.clone(), bob.clone()],
        vec![later.clone(), ann.clone()],
    ] {
        store.mark_exposed(marks).await.expect("mark");
    }
    // Changes of the same secrets are not in the way.
    let change = version_change("a", 10, "v2");
    store.put_version_changes(vec![change]).await.expect("put");
    let found = store.exposed_by(&[secret("prod/db"), secret("none")]).await;
    let found = BTreeSet::from_iter(found.expect("marks"));
    assert_eq!(found, BTreeSet::from([ann, later]));
    let found = store.exposed_by(&[secret("prod/other")]).await;
    assert_eq!(found.expect("marks"), [bob]);
}

/// An incident that has exposed something since a time.
fn exposing(name: &str, since: i64, is_open: bool) -> AnnouncedIncident {
    AnnouncedIncident {
        exposure: Some(AnnouncedExposure {
            since: EventTime(since),
            is_open,
        }),
        ..announced(name, 100)
    }
}

/// Incidents whose exposure is open since a time or longer, at most so many.
async fn open<S: IncidentStore>(store: &S, since: i64, most: usize) -> BTreeSet<IncidentId> {
    let found = store.open_exposures(EventTime(since), most).await;
    BTreeSet::from_iter(found.expect("open exposures"))
}

async fn announce<S: IncidentStore>(store: &S, all: &[AnnouncedIncident]) {
    let written = store.announce(all).await.expect("announce");
    assert!(written.iter().all(|is_written| *is_written));
}

fn ids(all: &[&AnnouncedIncident]) -> BTreeSet<IncidentId> {
    all.iter().map(|one| one.id.clone()).collect()
}

async fn open_exposures_are_found_by_their_age<S: IncidentStore>(store: &S) {
    let (old, new) = (exposing("ann", 10, true), exposing("bob", 50, true));
    let closed = exposing("eve", 10, false);
    let none = announced("mallory", 10);
    announce(store, &[old.clone(), new.clone(), closed, none]).await;
    assert_eq!(open(store, 9, 10).await, ids(&[]));
    assert_eq!(open(store, 10, 10).await, ids(&[&old]));
    assert_eq!(open(store, 50, 10).await, ids(&[&old, &new]));
    assert_eq!(open(store, 50, 1).await, ids(&[&old]), "the oldest first");
    // One closes, one ends, and the one that had closed is open again.
    let mut changed = [exposing("ann", 10, false), new, exposing("eve", 10, true)];
    let [_, ends, again] = &mut changed;
    ends.end = Some(IncidentEnd::Withdrawn);
    let again = again.clone();
    changed.iter_mut().for_each(|one| one.version = 1);
    announce(store, &changed).await;
    assert_eq!(open(store, 50, 10).await, ids(&[&again]));
}

/// Runs all of these tests.
pub(super) async fn run<S: IncidentStore>(empty: impl Fn() -> S) {
    changes_are_kept_once(&empty()).await;
    incidents_are_found_by_what_they_revealed(&empty()).await;
    open_exposures_are_found_by_their_age(&empty()).await;
}
