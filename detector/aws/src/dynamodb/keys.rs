//! Keys of the table, one function for each row of the table in [`super`]'s documentation. They are
//! a stored format: items under a changed key are not found any more.

use secretrail_engine::{
    actor::{ActorKey, ActorKind},
    alert::{AlertId, IncidentId},
    completeness::{ComparedDigest, DigestRange},
    coverage::CoverageMark,
    digest::digest,
    exposure::changes::SecretName,
    fact::{RuleRange, WindowKey},
    outbox::{NoteTopic, OutboxNote},
    pending_event::{CorrelationKey, CorrelationRange},
    state::{ActorRange, ExposedMark},
    time::EventTime,
};

use crate::{
    dynamodb::item::{ItemKey, SortKeyRange},
    names::{self, ALONE, DECISION, DESTINATIONS, INCIDENTS, LAST_OBJECT, second},
};

/// Length in seconds of the segments of event time in sort keys: windows are read in whole
/// segments.
const SEGMENT_SECS: i64 = 600;

const DUE: &str = "due";
const DELIVERIES: &str = "deliveries";
/// Partition of the events that came directly.
pub(super) const DIRECT: &str = "direct";
/// Partition of the digests that wait for their files.
pub(super) const DIGESTS: &str = "digests";
/// Partition of the events that wait for digests.
pub(super) const HELD: &str = "held";
const OUTBOX: &str = "outbox";
const PROVISIONAL: &str = "provisional";
const INCIDENT: &str = "incident";
const INCIDENTS_OF: &str = "incidents-of";
const ALERTS_OF: &str = "alerts-of";
const FROM: &str = "principals-from";
const VERSIONS: &str = "versions";
const CHANGE: &str = "change";
const EXPOSED_BY: &str = "exposed-by";
const OPEN_EXPOSURES: &str = "open-exposures";

/// The segment of an event time. Times before 1970, from broken clocks, share the first one.
pub(super) fn segment(time: EventTime) -> String {
    // Padded with zeros: sort keys compare as text.
    format!("{:010}", time.0.max(0).div_euclid(SEGMENT_SECS))
}

/// The hour of an event time.
pub(super) fn hour(time: EventTime) -> String {
    format!("{:08}", time.0.max(0).div_euclid(3_600))
}

/// Groups with the same first field share a partition: what one principal does with a hundred
/// secrets is one read.
pub(super) fn window_partition(key: &WindowKey) -> String {
    let first = key.group.first().map(|(field, value)| [&**field, &**value]);
    let parts: Vec<&str> = std::iter::once(&*key.rule)
        .chain(first.into_iter().flatten())
        .collect();
    format!("window#{}", digest(&parts))
}

/// Facts of a partition in one segment, by the digest of their content.
pub(super) fn facts(partition: &str, segment: &str, digest: &str) -> ItemKey {
    ItemKey::new(partition, format!("{segment}#{digest}"))
}

/// All facts of a partition in the segments of two event times and between them.
pub(super) fn facts_between(partition: &str, from: EventTime, to: EventTime) -> SortKeyRange {
    SortKeyRange {
        pk: partition.to_owned(),
        from: format!("{}#", segment(from)),
        to: format!("{}#~", segment(to)),
    }
}

/// The mark that a slot of a rule has facts in an hour.
pub(super) fn slot(rule: &str, hour: &str, slot: usize) -> ItemKey {
    ItemKey::new(format!("slots#{rule}"), format!("{hour}#{slot}"))
}

/// The slot marks of a rule in the hours of a range.
pub(super) fn slots_in(range: &RuleRange) -> SortKeyRange {
    SortKeyRange {
        pk: format!("slots#{}", range.rule),
        from: format!("{}#", hour(range.from)),
        to: format!("{}#~", hour(range.to)),
    }
}

/// The slot in a sort key of [`slot`]; `None` when there is none.
pub(super) fn slot_of(sort_key: &str) -> Option<usize> {
    sort_key.rsplit_once('#')?.1.parse().ok()
}

/// One segment of a correlation group: its pending events are stored, read and closed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CorrelationSegment {
    /// Partition of the correlation group.
    pub(super) pk: String,
    /// Segment of event time.
    pub(super) segment: String,
}

impl CorrelationSegment {
    pub(super) fn of(correlation_group: &CorrelationKey, time: EventTime) -> Self {
        Self {
            pk: correlation_group_partition(correlation_group),
            segment: segment(time),
        }
    }

    /// Pending events, by the digest of their content.
    pub(super) fn pending(&self, digest: &str) -> ItemKey {
        ItemKey::new(&self.pk, format!("{}#event#{digest}", self.segment))
    }

    /// Ids of closed pending events, by their digest.
    pub(super) fn closed(&self, digest: &str) -> ItemKey {
        ItemKey::new(&self.pk, format!("{}#closed#{digest}", self.segment))
    }

    /// The ids of closed pending events.
    pub(super) fn all_closed(&self) -> SortKeyRange {
        SortKeyRange {
            pk: self.pk.clone(),
            from: format!("{}#closed#", self.segment),
            to: format!("{}#closed#~", self.segment),
        }
    }

    /// Pending events, and the ids of closed ones.
    pub(super) fn whole(&self) -> SortKeyRange {
        SortKeyRange {
            pk: self.pk.clone(),
            from: format!("{}#", self.segment),
            to: format!("{}#~", self.segment),
        }
    }
}

fn correlation_group_partition(correlation_group: &CorrelationKey) -> String {
    format!(
        "pending#{}",
        digest(&[&correlation_group.actor, &correlation_group.region])
    )
}

/// Pending events of a correlation group in the segments of a range. Includes the ids of closed
/// ones in all of these segments but the last.
pub(super) fn pending_in(range: &CorrelationRange) -> SortKeyRange {
    SortKeyRange {
        pk: correlation_group_partition(&range.correlation_group),
        from: format!("{}#event#", segment(range.from)),
        to: format!("{}#event#~", segment(range.to)),
    }
}

/// The digest in a sort key of [`CorrelationSegment::ends`]; `None` for other items of the segment.
pub(super) fn digest_of_pending(sort_key: &str) -> Option<&str> {
    sort_key.rsplit_once("#event#").map(|(_, digest)| digest)
}

/// The partition of the copies of an event in several accounts.
pub(super) fn shared_partition(shared_id: &str) -> String {
    format!("shared#{shared_id}")
}

/// References to events that have been pending since a time, by their digest.
pub(super) fn due(since: EventTime, digest: &str) -> ItemKey {
    // Padded, as text sorts: a sweep takes those that have waited longest first.
    ItemKey::new(DUE, format!("{:012}#{digest}", since.0.max(0)))
}

/// References to events that have been pending since a time, of some seconds of one actor. Those of
/// the same seconds are next to each other, so that a sweep takes them together.
pub(super) fn due_of_busy(since: EventTime, time: EventTime, digest: &str) -> ItemKey {
    due(since, &format!("{:012}#{digest}", time.0.max(0)))
}

/// References to events that have been pending since a time or longer.
pub(super) fn due_since(since: EventTime) -> SortKeyRange {
    SortKeyRange {
        pk: DUE.to_owned(),
        from: "0".to_owned(),
        // Not more digits than sort keys have, which compare as text: a later time would sort
        // before most of them.
        to: format!("{:012}#~", since.0.clamp(0, 999_999_999_999)),
    }
}

/// The time in a sort key of [`due`]; `None` when there is none.
pub(super) fn since_of_due(sort_key: &str) -> Option<EventTime> {
    let (since, _) = sort_key.split_once('#')?;
    since.parse().ok().map(EventTime)
}

/// All references to pending events.
pub(super) fn all_due() -> SortKeyRange {
    SortKeyRange::whole(DUE)
}

/// What is looked at again at a time, or is open since it, by a digest or id.
pub(super) fn looked_at(partition: &str, at: EventTime, digest: &str) -> ItemKey {
    ItemKey::new(partition, format!("{}#{digest}", second(at)))
}

/// The same at a time or before.
pub(super) fn looked_at_until(partition: &str, until: EventTime) -> SortKeyRange {
    SortKeyRange {
        to: format!("{}#~", second(until)),
        ..SortKeyRange::whole(partition)
    }
}

fn compared_partition(account: &str, region: &str) -> String {
    format!("compared#{account}#{region}")
}

/// A digest that was compared, by the end of its hour.
pub(super) fn compared(digest: &ComparedDigest) -> ItemKey {
    let partition = compared_partition(&digest.account, &digest.region);
    ItemKey::new(partition, second(digest.hour.end))
}

/// The digests of an account and region that were compared, by the ends of their hours.
pub(super) fn compared_in(range: &DigestRange) -> SortKeyRange {
    SortKeyRange {
        pk: compared_partition(&range.account, &range.region),
        from: second(range.from),
        to: second(range.to),
    }
}

/// The end in a sort key of [`compared`]; `None` when there is none.
pub(super) fn end_of_compared(sort_key: &str) -> Option<EventTime> {
    sort_key.parse().ok().map(EventTime)
}

pub(super) fn coverage(mark: &CoverageMark) -> ItemKey {
    ItemKey::new(
        names::coverage(&mark.account, &mark.region),
        mark.bucket.to_string(),
    )
}

/// The hours in which log files of an account and region were delivered.
pub(super) fn deliveries(account: &str, region: &str) -> ItemKey {
    ItemKey::new(DELIVERIES, format!("{account}#{region}"))
}

/// The hours of all accounts and regions.
pub(super) fn all_deliveries() -> SortKeyRange {
    SortKeyRange::whole(DELIVERIES)
}

pub(super) fn seen(key: &str) -> ItemKey {
    ItemKey::new(names::seen(key), ALONE)
}

pub(super) fn alert(id: &AlertId) -> ItemKey {
    ItemKey::new(format!("alert#{}", id.0), ALONE)
}

/// An outbox note. Each destination has a partition of its own, so that one whose notes pile up is
/// in nobody's way.
pub(super) fn note(note: &OutboxNote) -> ItemKey {
    ItemKey::new(
        outbox_partition(&note.destination),
        // Those that have been due longest are read first.
        match &note.topic {
            NoteTopic::Alert(id) => format!("{}#{}", second(note.due), id.0),
            NoteTopic::Incident(id) => format!("{}#{INCIDENT}#{}", second(note.due), id.0),
        },
    )
}

fn outbox_partition(destination: &str) -> String {
    format!("{OUTBOX}#{destination}")
}

/// All outbox notes of a destination.
pub(super) fn outbox(destination: &str) -> SortKeyRange {
    SortKeyRange::whole(outbox_partition(destination))
}

/// The outbox notes of a destination that are due before a time.
pub(super) fn outbox_due(destination: &str, before: EventTime) -> SortKeyRange {
    SortKeyRange {
        // No note has this key, and those that are due at the time sort behind it.
        to: second(before),
        ..outbox(destination)
    }
}

/// The topic of a sort key of [`note`]; `None` when it is none.
pub(super) fn topic_of_note(sort_key: &str) -> Option<NoteTopic> {
    let (_, topic) = sort_key.split_once('#')?;
    Some(match topic.split_once('#') {
        Some((INCIDENT, id)) => NoteTopic::Incident(IncidentId(id.into())),
        Some(_) => return None,
        None => NoteTopic::Alert(AlertId(topic.into())),
    })
}

/// When the note with a sort key of [`note`] is due; `None` when it is none.
pub(super) fn due_of_note(sort_key: &str) -> Option<EventTime> {
    let (due, _) = sort_key.split_once('#')?;
    due.parse().ok().map(EventTime)
}

/// The outbox note of an alert for all destinations together, as earlier versions wrote it.
pub(super) fn note_for_all(id: &AlertId) -> ItemKey {
    ItemKey::new(OUTBOX, &*id.0)
}

/// All outbox notes that earlier versions wrote.
pub(super) fn notes_for_all() -> SortKeyRange {
    SortKeyRange::whole(OUTBOX)
}

/// The state of a destination.
pub(super) fn destination(id: &str) -> ItemKey {
    ItemKey::new(DESTINATIONS, id)
}

/// The states of all destinations.
pub(super) fn destinations() -> SortKeyRange {
    SortKeyRange::whole(DESTINATIONS)
}

/// The note of a provisional alert.
pub(super) fn provisional(id: &AlertId) -> ItemKey {
    ItemKey::new(PROVISIONAL, &*id.0)
}

/// All notes of provisional alerts.
pub(super) fn all_provisional() -> SortKeyRange {
    SortKeyRange::whole(PROVISIONAL)
}

/// The partition of an actor.
fn actor_partition(prefix: &str, (kind, key): &ActorKey) -> String {
    format!("{prefix}#{}", digest(&[kind.as_str(), key]))
}

fn times_of(prefix: &str, range: &ActorRange) -> SortKeyRange {
    SortKeyRange {
        pk: actor_partition(prefix, &range.actor),
        from: format!("{}#", second(range.from)),
        to: format!("{}#~", second(range.to)),
    }
}

/// What incidents need of an alert, by its actor and time.
pub(super) fn alert_of_actor(actor: &ActorKey, time: EventTime, id: &AlertId) -> ItemKey {
    let partition = actor_partition(ALERTS_OF, actor);
    ItemKey::new(partition, format!("{}#{}", second(time), id.0))
}

/// What incidents need of the alerts of an actor in a range.
pub(super) fn alerts_of_actor(range: &ActorRange) -> SortKeyRange {
    times_of(ALERTS_OF, range)
}

/// The mark that alerts of a principal come from an address or network in an hour.
pub(super) fn principal_from(place: &str, time: EventTime, principal: &str) -> ItemKey {
    let place = (ActorKind::Address, place.into());
    let principal = digest(&[principal]);
    let partition = actor_partition(FROM, &place);
    ItemKey::new(partition, format!("{}#{principal}", hour(time)))
}

/// The marks of the hours of a range.
pub(super) fn principals_from(range: &ActorRange) -> SortKeyRange {
    SortKeyRange {
        pk: actor_partition(FROM, &range.actor),
        from: format!("{}#", hour(range.from)),
        to: format!("{}#~", hour(range.to)),
    }
}

/// What is known of an incident.
pub(super) fn incident(id: &IncidentId) -> ItemKey {
    ItemKey::new(names::incident(&id.0), ALONE)
}

/// What a person has decided about an incident.
pub(super) fn decision(id: &IncidentId) -> ItemKey {
    ItemKey::new(names::incident(&id.0), DECISION)
}

/// The reference to an incident of an actor, by its beginning.
pub(super) fn incident_of_actor(actor: &ActorKey, first: EventTime, id: &IncidentId) -> ItemKey {
    let partition = actor_partition(INCIDENTS_OF, actor);
    ItemKey::new(partition, format!("{}#{}", second(first), id.0))
}

/// The references to the incidents of an actor that begin in a range.
pub(super) fn incidents_of_actor(range: &ActorRange) -> SortKeyRange {
    times_of(INCIDENTS_OF, range)
}

/// The reference to an incident among all of them, by its beginning.
pub(super) fn incident_by_time(first: EventTime, id: &IncidentId) -> ItemKey {
    ItemKey::new(INCIDENTS, format!("{}#{}", second(first), id.0))
}

/// The incident of a sort key of [`incident_of_actor`] or [`incident_by_time`]; `None` when it is
/// none.
pub(super) fn incident_of_reference(sort_key: &str) -> Option<IncidentId> {
    let (_, id) = sort_key.split_once('#')?;
    Some(IncidentId(id.into()))
}

/// The partition of a secret, as far as its name goes.
fn secret_partition(secret: &SecretName) -> String {
    let (account, region) = (&*secret.account, &*secret.region);
    let name = digest(&[secret.store.as_str(), account, region, &secret.name]);
    format!("{VERSIONS}#{name}")
}

/// Changes to the versions of a secret, by the digest of their content.
pub(super) fn version_changes(secret: &SecretName, digest: &str) -> ItemKey {
    ItemKey::new(secret_partition(secret), format!("{CHANGE}#{digest}"))
}

/// All changes to the versions of a secret.
pub(super) fn all_version_changes(secret: &SecretName) -> SortKeyRange {
    below(secret_partition(secret), CHANGE)
}

/// The mark that an incident revealed versions of a secret.
pub(super) fn exposed_by(mark: &ExposedMark) -> ItemKey {
    let (kind, key) = &mark.actor;
    let actor = digest(&[kind.as_str(), key]);
    let name = format!("{EXPOSED_BY}#{}#{actor}", second(mark.first));
    ItemKey::new(secret_partition(&mark.secret), name)
}

/// All marks of incidents that revealed versions of a secret.
pub(super) fn all_exposed_by(secret: &SecretName) -> SortKeyRange {
    below(secret_partition(secret), EXPOSED_BY)
}

/// The sort keys that begin with a word.
fn below(pk: String, word: &str) -> SortKeyRange {
    SortKeyRange {
        pk,
        from: format!("{word}#"),
        to: format!("{word}#~"),
    }
}

/// The reference to an incident whose exposure is open since a time.
pub(super) fn open_exposure(since: EventTime, id: &IncidentId) -> ItemKey {
    looked_at(OPEN_EXPOSURES, since, &id.0)
}

/// The references to the incidents whose exposure is open since a time or longer.
pub(super) fn open_exposures(since: EventTime) -> SortKeyRange {
    looked_at_until(OPEN_EXPOSURES, since)
}

pub(super) fn object(bucket: &str, key: &str) -> ItemKey {
    ItemKey::new(names::object(bucket, key), ALONE)
}

pub(super) fn last_object() -> ItemKey {
    ItemKey::new(LAST_OBJECT, ALONE)
}

pub(super) fn kept(name: &str) -> ItemKey {
    ItemKey::new(names::kept(name), ALONE)
}

#[cfg(test)]
mod tests {
    use secretrail_engine::trail_digest::DigestHour;

    use super::*;

    fn is_in(key: &ItemKey, range: &SortKeyRange) -> bool {
        key.pk == range.pk && (&range.from..=&range.to).contains(&&key.sk)
    }

    fn correlation_group() -> CorrelationKey {
        CorrelationKey::new(
            "arn:aws:iam::111122223333:user/ann".into(),
            "eu-west-1".into(),
        )
    }

    /// 2026-03-02T10:00:00Z, the start of a segment and of an hour.
    const TEN: EventTime = EventTime(1_772_445_600);

    #[test]
    fn stored_keys_stay_as_they_are() {
        let key = WindowKey {
            rule: "rule".into(),
            group: vec![("principal.arn".into(), "ann".into())],
        };
        let place = CorrelationSegment::of(&correlation_group(), TEN);
        let mark = CoverageMark::at("111122223333".into(), "eu-west-1".into(), TEN);
        let id = AlertId("a1".into());
        let ann = (ActorKind::Principal, "ann".into());
        let incident_id = IncidentId("i1".into());
        let digest_of_ten = ComparedDigest {
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            hour: DigestHour {
                start: TEN.plus(-3_600),
                end: TEN,
            },
        };
        let found = [
            facts(&window_partition(&key), &segment(TEN), "d"),
            slot("rule", &hour(TEN), 2),
            place.pending("d"),
            place.closed("d"),
            ItemKey::new(shared_partition("s"), "d"),
            due(TEN, "d"),
            coverage(&mark),
            seen("k"),
            alert(&id),
            note(&OutboxNote::new(
                "arn:t".into(),
                NoteTopic::Alert(id.clone()),
                TEN,
            )),
            note_for_all(&id),
            destination("arn:t"),
            provisional(&id),
            alert_of_actor(&ann, TEN, &id),
            principal_from("198.51.100.7", TEN, "ann"),
            incident(&incident_id),
            incident_of_actor(&ann, TEN, &incident_id),
            incident_by_time(TEN, &incident_id),
            object("b", "k"),
            looked_at(DIGESTS, TEN, "d"),
            looked_at(HELD, TEN, "d"),
            compared(&digest_of_ten),
            last_object(),
            kept("rules"),
        ]
        .map(|ItemKey { pk, sk }| format!("{pk} {sk}"));
        assert_eq!(
            found,
            [
                "window#7eb91013938674277eed51ddbb04a53e 0002954076#d",
                "slots#rule 00492346#2",
                "pending#66fc8769fc427c12b55bc5fbb5f95345 0002954076#event#d",
                "pending#66fc8769fc427c12b55bc5fbb5f95345 0002954076#closed#d",
                "shared#s d",
                "due 001772445600#d",
                "coverage#111122223333#eu-west-1 492346",
                "seen#95d6b7920c5acf9a9b3032984a47488c -",
                "alert#a1 -",
                "outbox#arn:t 001772445600#a1",
                "outbox a1",
                "destinations arn:t",
                "provisional a1",
                "alerts-of#756fc68f16fecc989f37b19584c24b11 001772445600#a1",
                "principals-from#133cd05dd434c04dd10ae2c327940b1e \
                 00492346#ffa842c32eb10df68ce77737e323e40c",
                "incident#i1 -",
                "incidents-of#756fc68f16fecc989f37b19584c24b11 001772445600#i1",
                "incidents 001772445600#i1",
                "object#460c822973a70ca51843ec739c54ffc6 -",
                "digests 001772445600#d",
                "held 001772445600#d",
                "compared#111122223333#eu-west-1 001772445600",
                "last-object -",
                "kept#rules -",
            ]
        );
    }

    #[test]
    fn what_a_principal_does_with_many_secrets_is_in_one_partition() {
        let key = |rule: &str, who: &str, secret: &str| WindowKey {
            rule: rule.into(),
            group: vec![
                ("principal.arn".into(), who.into()),
                ("secret.arn".into(), secret.into()),
            ],
        };
        let one = window_partition(&key("rule", "ann", "a"));
        assert_eq!(one, window_partition(&key("rule", "ann", "b")));
        assert_ne!(one, window_partition(&key("rule", "bob", "a")));
        assert_ne!(one, window_partition(&key("other", "ann", "a")));
        let alone = WindowKey {
            rule: "rule".into(),
            group: Vec::new(),
        };
        assert_ne!(one, window_partition(&alone));
    }

    #[test]
    fn a_range_holds_its_first_and_last_segment_whole() {
        let (from, to) = (TEN.plus(599), TEN.plus(600));
        let range = facts_between("p", from, to);
        for (secs, is_inside) in [
            (-1, false),
            (0, true),
            (599, true),
            (1_199, true),
            (1_200, false),
        ] {
            let key = facts("p", &segment(TEN.plus(secs)), "ffff");
            assert_eq!(is_in(&key, &range), is_inside, "{secs}");
        }
        let hours = slots_in(&RuleRange {
            rule: "rule".into(),
            from: TEN.plus(3_599),
            to: TEN.plus(3_600),
        });
        for (secs, is_inside) in [(-1, false), (0, true), (7_199, true), (7_200, false)] {
            let key = slot("rule", &hour(TEN.plus(secs)), 11);
            assert_eq!(is_in(&key, &hours), is_inside, "{secs}");
        }
    }

    #[test]
    fn times_of_broken_clocks_have_keys_in_order() {
        let times = [i64::MIN, -1, 0, 599, 600, 5_999_999, 6_000_000, 1 << 40].map(EventTime);
        let segments = times.map(segment);
        assert!(segments.is_sorted(), "{segments:?}");
        assert_eq!(segments[0], segments[3]);
        assert!(times.map(hour).is_sorted());
    }

    #[test]
    fn closed_ends_are_not_taken_for_ends() {
        let place = CorrelationSegment::of(&correlation_group(), TEN);
        assert_eq!(digest_of_pending(&place.pending("d1").sk), Some("d1"));
        assert_eq!(digest_of_pending(&place.closed("d1").sk), None);
        assert!(is_in(&place.pending("d1"), &place.whole()));
        assert!(is_in(&place.closed("d1"), &place.whole()));
        let next = CorrelationSegment::of(&correlation_group(), TEN.plus(600));
        assert!(!is_in(&next.pending("d1"), &place.whole()));
        let both = CorrelationRange {
            correlation_group: correlation_group(),
            from: TEN,
            to: TEN.plus(600),
        };
        assert!(is_in(&next.pending("d1"), &pending_in(&both)));
    }

    #[test]
    fn what_waits_since_a_time_is_due_at_it_and_not_before() {
        let waits = due(TEN, "ffff");
        assert!(is_in(&waits, &due_since(TEN)) && is_in(&waits, &all_due()));
        assert_eq!(since_of_due(&waits.sk), Some(TEN));
        assert!(!is_in(&waits, &due_since(TEN.plus(-1))));
        assert!(is_in(&waits, &due_since(EventTime(i64::MAX))));
        assert!(is_in(
            &due(EventTime(i64::MIN), "0"),
            &due_since(EventTime(0))
        ));
    }

    #[test]
    fn a_note_is_read_from_its_time_on_and_comes_back() {
        let alert = NoteTopic::Alert(AlertId("a1".into()));
        let waits = OutboxNote::new("t".into(), alert.clone(), TEN);
        let key = note(&waits);
        assert!(is_in(&key, &outbox("t")) && !is_in(&key, &outbox("u")));
        assert!(is_in(&key, &outbox_due("t", TEN.plus(1))));
        assert!(!is_in(&key, &outbox_due("t", TEN)));
        assert!(is_in(&key, &outbox_due("t", EventTime(i64::MAX))));
        assert!(!is_in(&key, &notes_for_all()));
        assert_eq!(topic_of_note(&key.sk), Some(alert));
        assert_eq!(due_of_note(&key.sk), Some(TEN));
        let incident = NoteTopic::Incident(IncidentId("i1".into()));
        let key = note(&OutboxNote::new("t".into(), incident.clone(), TEN));
        assert_eq!(topic_of_note(&key.sk), Some(incident));
        assert_eq!(due_of_note(&key.sk), Some(TEN));
        assert_eq!((topic_of_note("a1"), due_of_note("a1")), (None, None));
        assert_eq!(topic_of_note("1#other#a1"), None);
    }

    #[test]
    fn a_rule_of_a_window_is_read_back_from_its_mark() {
        assert_eq!(slot_of(&slot("a#b", &hour(TEN), 12).sk), Some(12));
        assert_eq!(slot_of("00492346#x"), None);
        assert_eq!(slot_of("00492346"), None);
    }
}
