//! Of an alert that holds back others, each writer knows the events of one part of a batch.

use std::sync::Arc;

use super::{alert, create, read};
use crate::{
    actor::{ActorKey, ActorKind, common::CommonTraits},
    alert::{Alert, WindowMatch},
    evidence::Evidence,
    state::{ActorRange, IncidentStore},
    time::EventTime,
};

const DAY: i64 = 86_400;

/// An address of each principal; both are of one network.
const ANN: (&str, &str) = ("ann", "198.51.100.7");
const BOB: (&str, &str) = ("bob", "198.51.100.8");

/// The form of an alert of a day that rests on one event of somebody.
fn form((who, address): (&str, &str), secs: i64) -> Alert {
    let id = format!("{who}-{secs}");
    let mut head = (**read(&id, secs, who, None).head()).clone();
    let source = Arc::make_mut(&mut head.source);
    source.ip = Some(address.into());
    source.kind = crate::observation::SourceKind::Ip;
    let evidence = vec![Evidence::event(Arc::new(head), None)];
    let common = Some(CommonTraits::of(&evidence));
    let window_match = WindowMatch {
        group: Vec::new(),
        bucket: 0,
        start: EventTime(secs - DAY),
        end: EventTime(secs),
        count: 1,
    };
    let known = alert("held back");
    Alert {
        common,
        ..Alert::new(known.id, known.rule, Some(window_match), evidence)
    }
}

fn range(actor: &ActorKey) -> ActorRange {
    ActorRange {
        actor: actor.clone(),
        from: EventTime(0),
        to: EventTime(DAY),
    }
}

/// What incidents need of the alerts about an actor: first event, beginning, time and addresses.
async fn about<S: IncidentStore>(store: &S, actor: &ActorKey) -> Vec<(i64, i64, i64, usize)> {
    let found = store.alerts_about(&[range(actor)]).await.expect("alerts");
    let found = found.into_iter().flatten();
    let needs = found.map(|alert| {
        let first = alert.events.first().map_or(-1, |event| event.time.0);
        let addresses = alert.origin.addresses.len();
        (first, alert.began.0, alert.time.0, addresses)
    });
    needs.collect()
}

pub(super) async fn run<S: IncidentStore>(empty: &impl Fn() -> S) {
    forms_of_an_alert_that_holds_back_are_merged(&empty()).await;
    forms_of_several_principals_are_about_what_they_share(&empty()).await;
    a_final_form_takes_the_place_of_a_provisional_one(&empty()).await;
}

async fn forms_of_an_alert_that_holds_back_are_merged<S: IncidentStore>(store: &S) {
    let (first, again, later) = (form(ANN, 7_300), form(ANN, 7_900), form(ANN, 40_000));
    let ann = first.actor.identity();
    assert_eq!(create(store, &[&again], 1).await, [true]);
    assert_eq!(about(store, &ann).await, [(7_900, 7_900, 7_900, 1)]);
    assert_eq!(create(store, &[&first], 2).await, [false]);
    assert_eq!(about(store, &ann).await, [(7_300, 7_300, 7_300, 1)]);
    for repeated in [&later, &again, &first, &later] {
        assert_eq!(create(store, &[repeated], 3).await, [false]);
    }
    assert_eq!(about(store, &ann).await, [(7_300, 7_300, 40_000, 1)]);
    let asked = range(&(ActorKind::Address, "198.51.100.7".into()));
    let from = async |hour: i64| {
        let (from, to) = (EventTime(hour * 3_600), EventTime(hour * 3_600 + 3_599));
        let asked = ActorRange {
            from,
            to,
            ..asked.clone()
        };
        let found = store.principals_from(&[asked]).await.expect("principals");
        found.concat().len()
    };
    assert_eq!(from(11).await, 1, "in the hour of its last event");
}

async fn forms_of_several_principals_are_about_what_they_share<S: IncidentStore>(store: &S) {
    let (one, other) = (form(ANN, 7_300), form(BOB, 20_000));
    let network = (ActorKind::Address, "198.51.100.0/24".into());
    create(store, &[&one], 1).await;
    for form in [&other, &one, &other] {
        assert_eq!(create(store, &[form], 2).await, [false]);
        assert_eq!(about(store, &one.actor.identity()).await, []);
        assert_eq!(about(store, &other.actor.identity()).await, []);
        assert_eq!(about(store, &network).await, [(7_300, 7_300, 20_000, 2)]);
    }
}

async fn a_final_form_takes_the_place_of_a_provisional_one<S: IncidentStore>(store: &S) {
    let (early, last, more) = (form(ANN, 7_300), form(ANN, 20_000), form(ANN, 30_000));
    let waiting = vec![(early.clone(), EventTime(10))];
    let created = store
        .create_provisional_alerts(waiting, EventTime(10))
        .await;
    assert_eq!(created.expect("create"), [true]);
    let ann = early.actor.identity();
    assert_eq!(create(store, &[&last], 20).await, [false]);
    // The event of the provisional form was refuted.
    assert_eq!(about(store, &ann).await, [(20_000, 20_000, 20_000, 1)]);
    assert_eq!(create(store, &[&more], 30).await, [false]);
    assert_eq!(about(store, &ann).await, [(20_000, 20_000, 30_000, 1)]);
    let withdrawn = store.withdraw_alerts(&[early.id], EventTime(40)).await;
    assert_eq!(withdrawn.expect("withdraw"), [], "it is confirmed");
}
