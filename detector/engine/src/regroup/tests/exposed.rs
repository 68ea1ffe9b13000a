//! Tests: what incidents revealed is the same in the end, whatever came first.

use super::*;
use crate::{
    access::{AccessDecrypt, DecryptStatus, sample},
    exposure::changes::{VersionChange, VersionChanges},
    ids::{RecordHome, SecretRef},
    incident::announced::ExposureNews,
    observation::VersionStep,
    revealed::{RevealedVersion, RevealedVersions},
    state::contract::{self, version_change},
};

/// What happens to the secrets of an alert's reads, in any order.
#[derive(Debug, Clone)]
enum Happening {
    Alert(Box<Alert>),
    Change(VersionChange),
}

fn happen(store: &MemoryStore, one: &Happening, now: i64) {
    match one {
        Happening::Alert(alert) => drop(write(store, from_ref(&**alert), now)),
        Happening::Change(change) => pollster::block_on(async {
            let secrets = [change.secret.clone()];
            let changes = vec![change.clone()];
            store.put_version_changes(changes).await.unwrap();
            let looked = reexposed(store, &secrets, worlds::PERIODS, EventTime(now)).await;
            looked.unwrap();
        }),
    }
}

/// A read of a version of `prod/db`, `prod/b` or `prod/c`, before or after its KMS Decrypt.
fn revealing(mut alert: Alert, kind: u8) -> Alert {
    let mut access = sample();
    let name = ["prod/db", "prod/b", "prod/c"][usize::from(kind % 3)];
    let arn = format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:{name}-AbC123");
    let home = RecordHome {
        partition: "aws",
        account: "111122223333",
        region: "eu-west-1",
    };
    access.secret = SecretRef::secret(&arn, home);
    access.secret.version_id = (!kind.is_multiple_of(4)).then(|| format!("v{}", kind % 4).into());
    access.decrypt = AccessDecrypt::only(match kind % 4 {
        0 => DecryptStatus::Unknown,
        _ => DecryptStatus::Paired,
    });
    Arc::make_mut(&mut access.head).time = alert.time;
    alert.traits.revealed = access.secret.arn.iter().cloned().collect();
    alert.secrets = alert.traits.revealed.clone();
    let version = RevealedVersion::of(&access).unwrap();
    alert.traits.versions = RevealedVersions::of([version], 10);
    alert
}

/// A change of one of these secrets.
fn changed(index: usize, secs: i64, kind: u8) -> VersionChange {
    let mut change = version_change(&format!("c{index}"), secs, &format!("v{}", kind / 6 % 5));
    change.secret.name = ["prod/db", "prod/b", "prod/c"][usize::from(kind % 3)].into();
    let name = &change.secret.name;
    let arn = format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:{name}-AbC123");
    change.fact.arn = Some(arn.into());
    change.fact.step = match kind / 30 {
        0..5 => change.fact.step,
        5 => VersionStep::RotationFailed,
        6 => VersionStep::RotationStarted {
            version_id: Some("v9".into()),
        },
        _ => VersionStep::Labelled {
            version_id: Some("v9".into()),
            labels: vec!["AWSPENDING".into()],
        },
    };
    change
}

/// What happens, in an order.
fn in_turn(happenings: Vec<Happening>, order: Vec<u32>) -> MemoryStore {
    let mut shuffled: Vec<(u32, Happening)> = order.into_iter().zip(happenings).collect();
    shuffled.sort_by_key(|(place, _)| *place);
    let store = store();
    for (now, (_, one)) in (10_000..).step_by(7).zip(&shuffled) {
        happen(&store, one, now);
    }
    store
}

proptest! {
    #[test]
    fn what_is_exposed_in_the_end_does_not_depend_on_what_came_first(
        alerts in worlds::world(),
        kinds in prop::collection::vec(any::<u8>(), 40),
        changes in prop::collection::vec((0_i64..200_000, any::<u8>()), 0..8),
        order in prop::collection::vec(any::<u32>(), 48),
        late in 0..8_usize,
    ) {
        let alerts = alerts.into_iter().zip(kinds);
        let alerts: Vec<Alert> = alerts.map(|(alert, kind)| revealing(alert, kind)).collect();
        let changes = changes.into_iter().enumerate();
        let changes: Vec<VersionChange> =
            changes.map(|(index, (secs, kind))| changed(index, secs, kind)).collect();
        let happenings = alerts.iter().cloned().map(|alert| Happening::Alert(Box::new(alert)));
        let (early, last) = changes.split_at(late.min(changes.len()));
        let happenings = happenings.chain(early.iter().cloned().map(Happening::Change));
        let store = in_turn(happenings.collect(), order);
        // When no message is due any more, the sweep looks at what was more of the same. A change
        // after that is seen at once.
        write(&store, &alerts, 1_000_000);
        is_as_in_a_replay(&store, &alerts, early)?;
        for (now, change) in (2_000_000..).zip(last) {
            happen(&store, &Happening::Change(change.clone()), now);
        }
        is_as_in_a_replay(&store, &alerts, &changes)?;
    }
}

/// In a replay, all alerts and all changes are known.
fn is_as_in_a_replay(
    store: &MemoryStore,
    alerts: &[Alert],
    changes: &[VersionChange],
) -> Result<(), TestCaseError> {
    let mut all = VersionChanges::default();
    all.extend(changes.iter().cloned());
    let found = standing(store, alerts);
    for incident in &IncidentGrouping::all(worlds::PERIODS, alerts.to_vec()).incidents {
        let expected = all.exposure(&incident.versions);
        let expected = expected.map(|exposure| exposure.is_open());
        let known = found.get(&incident.id);
        prop_assert!(known.is_some(), "{:?} is not announced", incident.id);
        let known = known.and_then(|known| known.exposure);
        let known = known.map(|exposure| exposure.is_open);
        let of = (changes.len(), &incident.actor, &incident.versions.first);
        prop_assert_eq!(known, expected, "{:?}", of);
    }
    Ok(())
}

/// A read of `prod/b`, and the change that replaces what it got, 4 h 12 min later.
fn stolen_and_rotated() -> (Alert, VersionChange) {
    let mut alert = contract::alert("e1");
    alert.actor.kind = ActorKind::Principal;
    let stolen = revealing(alert, 1 + 4 * 3);
    // Of the same secret: `prod/b`.
    let mut rotated = changed(1, stolen.time.0 + 15_120, 1);
    rotated.fact.step = VersionStep::Current {
        version_id: Some("v7".into()),
        instead_of: None,
    };
    (stolen, rotated)
}

/// The only incident.
fn known(store: &MemoryStore, alert: &Alert) -> AnnouncedIncident {
    let mut all = standing(store, from_ref(alert));
    all.pop_first().unwrap().1
}

fn is_open(incident: &AnnouncedIncident) -> Option<bool> {
    incident.exposure.map(|exposure| exposure.is_open)
}

#[test]
fn a_rotation_that_has_only_begun_or_failed_closes_nothing() {
    let (stolen, rotated) = stolen_and_rotated();
    let store = store();
    happen(&store, &Happening::Alert(Box::new(stolen.clone())), 1_000);
    for kind in [151, 181, 211] {
        let mut begun = changed(usize::from(kind), stolen.time.0 + 60, kind);
        assert_eq!(begun.secret, rotated.secret);
        assert!(!matches!(begun.fact.step, VersionStep::Current { .. }));
        begun.fact.arn.clone_from(&rotated.fact.arn);
        happen(&store, &Happening::Change(begun), 1_010);
    }
    let open = known(&store, &stolen);
    assert_eq!((is_open(&open), open.messages), (Some(true), 1));
}

#[test]
fn an_exposure_that_closes_is_announced_once_whatever_comes_first() {
    let (stolen, rotated) = stolen_and_rotated();
    let (read, change) = (
        Happening::Alert(Box::new(stolen.clone())),
        Happening::Change(rotated),
    );
    let late = store();
    happen(&late, &read, 1_000);
    happen(&late, &change, 2_000);
    let closed = known(&late, &stolen);
    assert_eq!(is_open(&closed), Some(false));
    assert_eq!(
        (closed.news.exposure, closed.messages),
        (Some(ExposureNews::Closed), 2)
    );
    // Again, it is nothing new.
    happen(&late, &change, 3_000);
    assert_eq!(known(&late, &stolen), closed);
    // The rotation first: it was never open.
    let early = store();
    happen(&early, &change, 1_000);
    happen(&early, &read, 2_000);
    let opened = known(&early, &stolen);
    assert_eq!(is_open(&opened), Some(false));
    assert_eq!((opened.news.kind, opened.messages), (NewsKind::Opened, 1));
}
