//! Pending events: by correlation group, by `sharedEventID`, and by when they are due.
//!
//! A pending event is written once and never changed. Closing it writes its id into another item,
//! and deletes what refers to it in partition `due`.

mod references;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::{
    copies::distinct,
    digest::digest,
    ids::SharedStr,
    pending_event::{CorrelationRange, PendingEvent, PendingEventId},
    state::{DueEvents, SetAside, StateError, item_v1},
    time::EventTime,
};

use self::references::{DueReference, WaitingGroups, by_correlation_group, references_together};
use super::{
    item::{Attributes, ItemKey, SK, SortKeyRange, text, text_of},
    keys::{self, CorrelationSegment},
    table::{AT_ONCE, DynamoTable},
};

/// References to pending events, by the start of their wait.
type DueReferences = BTreeMap<EventTime, Vec<DueReference>>;

/// Events to which an item of partition `due` refers at least, as far as possible.
const FEW_EVENTS: usize = 100;

/// Items of one segment that are read by their keys only if there are more.
const FEW_ITEMS: usize = 8;

/// Most ids in one item of closed events.
const SHUT_IDS: usize = 2_000;

/// How long pending events that cannot be read are set aside, in seconds: another version of the
/// function may read them.
const SET_ASIDE_SECS: i64 = 3_600;

/// Most items of partition `due` that are read at a time.
const DUE_ITEMS: usize = 100;

/// Attribute with the list of references.
const REFERENCES_LIST: &str = "references";

/// Attribute with the set of ids of closed events.
const SHUT_SET: &str = "shut";

/// What closes pending events: the items that refer to them, and their ids by correlation group and
/// segment.
#[derive(Debug, Default)]
pub struct PendingReceipt {
    references: Vec<ItemKey>,
    named: Vec<DueReference>,
    shut: IdsBySegment,
}

/// Ids of pending events, by correlation group and segment.
type IdsBySegment = BTreeMap<CorrelationSegment, BTreeSet<String>>;

/// Pending events in the table.
pub(super) struct StoredPendingEvents {
    table: Arc<DynamoTable>,
    keep_secs: i64,
}

impl StoredPendingEvents {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self { table, keep_secs }
    }

    pub(super) async fn put(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        let (usual, busy) = by_correlation_group(&ends, arrived);
        let (mut items, references) = self.correlation_group_items(usual);
        items.extend(self.shared_items(&ends));
        let mut due = self.due_items(references);
        for (time, busy) in busy {
            let (events, references) = self.correlation_group_items(busy);
            items.extend(events);
            due.extend(self.due_of_busy_items(time, references));
        }
        self.table.put(items).await?;
        // Only now, so that no reference is dangling: a sweep that found a reference without its
        // events would take them for closed, and delete it.
        self.table.put(due).await
    }

    /// Items of pending events by correlation group and segment, and references to them by the
    /// start of their wait.
    fn correlation_group_items(
        &self,
        groups: WaitingGroups,
    ) -> (Vec<(ItemKey, Attributes)>, DueReferences) {
        let mut items = Vec::new();
        let mut references = DueReferences::new();
        for ((waits_from, place), ends) in groups {
            for packed in item_v1::pack_pending(&ends) {
                references
                    .entry(waits_from)
                    .or_default()
                    .push(DueReference {
                        place: place.clone(),
                        digest: packed.digest.clone(),
                        ends: ends.len(),
                    });
                let key = place.pending(&packed.digest);
                items.push((key, self.table.packed(packed, self.keep_secs)));
            }
        }
        (items, references)
    }

    /// Shared events once more under their `sharedEventID`: the other account's copy is in another
    /// correlation group.
    fn shared_items(&self, ends: &[Arc<PendingEvent>]) -> Vec<(ItemKey, Attributes)> {
        let mut shared: BTreeMap<&SharedStr, Vec<Arc<PendingEvent>>> = BTreeMap::new();
        for end in ends {
            if let Some(id) = &end.observation.head().shared_id {
                shared.entry(id).or_default().push(end.clone());
            }
        }
        let mut items = Vec::new();
        for (id, ends) in shared {
            for packed in item_v1::pack_pending(&ends) {
                let key = ItemKey::new(keys::shared_partition(id), &packed.digest);
                items.push((key, self.table.packed(packed, self.keep_secs)));
            }
        }
        items
    }

    fn due_items(&self, references: DueReferences) -> Vec<(ItemKey, Attributes)> {
        self.items_of_references(references, keys::due)
    }

    /// References to events of some seconds of busy actors.
    fn due_of_busy_items(
        &self,
        time: EventTime,
        references: DueReferences,
    ) -> Vec<(ItemKey, Attributes)> {
        self.items_of_references(references, |since, digest| {
            keys::due_of_busy(since, time, digest)
        })
    }

    fn items_of_references(
        &self,
        references: DueReferences,
        key: impl Fn(EventTime, &str) -> ItemKey,
    ) -> Vec<(ItemKey, Attributes)> {
        let mut items = Vec::new();
        for (waits_from, references) in references {
            for references in references_together(&references) {
                let written: Vec<String> = references.iter().map(DueReference::written).collect();
                let parts: Vec<&str> = written.iter().map(String::as_str).collect();
                let list = parts.iter().map(|part| text(part)).collect();
                let list = (REFERENCES_LIST.to_owned(), AttributeValue::L(list));
                items.push((
                    key(waits_from, &digest(&parts)),
                    HashMap::from([list, self.table.expiry(self.keep_secs)]),
                ));
            }
        }
        items
    }

    pub(super) async fn due(
        &self,
        since: EventTime,
        most: usize,
        after: Option<&PendingReceipt>,
    ) -> Result<DueEvents<PendingReceipt>, StateError> {
        let items_at_most = most.div_ceil(FEW_EVENTS).clamp(1, DUE_ITEMS);
        let mut range = keys::due_since(since);
        if let Some(last) = after.and_then(|receipt| receipt.references.last()) {
            // What follows a key directly is the key with anything behind it.
            range.from = format!("{}!", last.sk);
        }
        loop {
            let items = self.table.query(range.clone(), items_at_most).await?;
            let ReferencedItems { references, named } = named(&items, most);
            let (ends, shut) = self.open(by_segment(&named)).await?;
            if !ends.is_empty() || references.is_empty() {
                let receipt = PendingReceipt {
                    references,
                    named,
                    shut,
                };
                return Ok(DueEvents { ends, receipt });
            }
            // All of them were closed before: duplicates, or closed by a sweep that did not finish.
            self.table.delete(references).await?;
        }
    }

    /// The open events of these items, and the ids that close them.
    async fn open(
        &self,
        digests: BTreeMap<CorrelationSegment, BTreeSet<String>>,
    ) -> Result<(Vec<Arc<PendingEvent>>, IdsBySegment), StateError> {
        let items = self.items_of(&digests).await?;
        let (mut open, mut ids) = (Vec::new(), IdsBySegment::new());
        for ((place, digests), items) in digests.into_iter().zip(items) {
            let ends = match self.open_among(&items, &digests) {
                Ok(ends) => ends,
                Err(error) if error.unreadable => {
                    self.refer_later(&place, digests).await?;
                    self.table.note_set_aside(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !ends.is_empty() {
                ids.insert(place, ends.iter().map(|end| identity(&end.id)).collect());
            }
            open.extend(ends);
        }
        Ok((distinct(open), ids))
    }

    /// The items with these digests, and those with ids of closed events, by segment.
    async fn items_of(
        &self,
        digests: &BTreeMap<CorrelationSegment, BTreeSet<String>>,
    ) -> Result<Vec<Vec<Attributes>>, StateError> {
        let ranges = digests.iter().map(|(place, digests)| {
            // In a segment with so many items, most of the others are not due now.
            if digests.len() > FEW_ITEMS {
                place.all_closed()
            } else {
                place.whole()
            }
        });
        let mut items = self.table.query_all(ranges.collect()).await?;
        for ((place, digests), items) in digests.iter().zip(&mut items) {
            if digests.len() > FEW_ITEMS {
                let keys = digests.iter().map(|digest| place.pending(digest));
                let due = self.table.get(keys.collect(), None).await?;
                items.extend(due.into_values());
            }
        }
        Ok(items)
    }

    /// Lets items of pending events be due later.
    async fn refer_later(
        &self,
        place: &CorrelationSegment,
        digests: BTreeSet<String>,
    ) -> Result<(), StateError> {
        let references = digests.into_iter().map(|digest| DueReference {
            place: place.clone(),
            digest,
            ends: 1,
        });
        let since = self.table.now().plus(SET_ASIDE_SECS);
        let references = DueReferences::from([(since, references.collect())]);
        self.table.put(self.due_items(references)).await
    }

    pub(super) async fn set_aside(
        &self,
        receipt: PendingReceipt,
        since: EventTime,
    ) -> Result<SetAside, StateError> {
        let PendingReceipt {
            references, named, ..
        } = receipt;
        let count = named.len();
        let (aside, since) = match count {
            0 | 1 => (SetAside::Later(count), since),
            // As long as they have waited.
            _ => {
                let key = references.first();
                let waited = key.and_then(|key| keys::since_of_due(&key.sk));
                (SetAside::Separated, waited.unwrap_or(since))
            }
        };
        let alone = named.into_iter();
        let alone = alone.flat_map(|one| self.due_items([(since, vec![one])].into()));
        let items: Vec<(ItemKey, Attributes)> = alone.collect();
        let kept: BTreeSet<ItemKey> = items.iter().map(|(key, _)| key.clone()).collect();
        self.table.put(items).await?;
        // Only now: after a crash between the two, they are due twice, which changes nothing.
        let old = references.into_iter().filter(|key| !kept.contains(key));
        self.table.delete(old.collect()).await?;
        Ok(aside)
    }

    pub(super) async fn since(&self) -> Result<Option<EventTime>, StateError> {
        let items = self.table.query(keys::all_due(), 1).await?;
        let key = items.first().and_then(|item| text_of(item, SK));
        Ok(key.and_then(keys::since_of_due))
    }

    /// Of the items of a segment, the events that are due and not closed.
    fn open_among(
        &self,
        items: &[Attributes],
        digests: &BTreeSet<String>,
    ) -> Result<Vec<Arc<PendingEvent>>, StateError> {
        let due = with_digests(items, digests);
        let mut ends = self.table.contents(&due, item_v1::unpack_pending)?;
        let closed = closed(items);
        ends.retain(|end| !closed.contains(&identity(&end.id)));
        Ok(ends)
    }

    pub(super) async fn within(
        &self,
        ranges: &[CorrelationRange],
    ) -> Result<Vec<Vec<Arc<PendingEvent>>>, StateError> {
        stream::iter(ranges.to_vec())
            .map(|range| self.within_one(range))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn within_one(
        &self,
        range: CorrelationRange,
    ) -> Result<Vec<Arc<PendingEvent>>, StateError> {
        let mut all = Vec::new();
        let mut found = |items: Vec<Attributes>| {
            // Item by item: the query returns whole segments, and most of a busy one may be outside
            // the range.
            for item in &items {
                let item = std::slice::from_ref(item);
                let mut ends = self.table.contents(item, item_v1::unpack_pending)?;
                ends.retain(|end| (range.from..=range.to).contains(&end.time));
                all.append(&mut ends);
            }
            Ok(())
        };
        self.table
            .pages(&keys::pending_in(&range), &mut found)
            .await?;
        Ok(distinct(all))
    }

    pub(super) async fn sharing(
        &self,
        shared_ids: &[SharedStr],
    ) -> Result<Vec<Arc<PendingEvent>>, StateError> {
        let ids: BTreeSet<&SharedStr> = shared_ids.iter().collect();
        let ranges = ids
            .into_iter()
            .map(|id| SortKeyRange::whole(keys::shared_partition(id)))
            .collect();
        let items = self.table.query_all(ranges).await?;
        let ends = self
            .table
            .contents(&items.concat(), item_v1::unpack_pending)?;
        Ok(distinct(ends))
    }

    pub(super) async fn close(&self, receipt: PendingReceipt) -> Result<(), StateError> {
        self.table.put(self.closed_items(receipt.shut)).await?;
        // Only now, so that events are known as closed after a crash: the next sweep finds the
        // references again, sees that none of their events is open, and deletes them.
        self.table.delete(receipt.references).await
    }

    fn closed_items(
        &self,
        shut: BTreeMap<CorrelationSegment, BTreeSet<String>>,
    ) -> Vec<(ItemKey, Attributes)> {
        let mut items = Vec::new();
        for (place, ids) in shut {
            let ids: Vec<String> = ids.into_iter().collect();
            for ids in ids.chunks(SHUT_IDS) {
                let parts: Vec<&str> = ids.iter().map(String::as_str).collect();
                let set = (SHUT_SET.to_owned(), AttributeValue::Ss(ids.to_vec()));
                items.push((
                    place.closed(&digest(&parts)),
                    HashMap::from([set, self.table.expiry(self.keep_secs)]),
                ));
            }
        }
        items
    }
}

/// What items of partition `due` refer to.
#[derive(Debug, Default)]
struct ReferencedItems {
    /// Keys of the items of partition `due`.
    references: Vec<ItemKey>,
    /// The items of pending events.
    named: Vec<DueReference>,
}

/// Digests of items of pending events.
fn by_segment(named: &[DueReference]) -> BTreeMap<CorrelationSegment, BTreeSet<String>> {
    let mut digests: BTreeMap<CorrelationSegment, BTreeSet<String>> = BTreeMap::new();
    for reference in named {
        let of_segment = digests.entry(reference.place.clone()).or_default();
        of_segment.insert(reference.digest.clone());
    }
    digests
}

/// What the first items of partition `due` refer to, about `most` events: an item is taken whole,
/// because it is also deleted whole.
fn named(items: &[Attributes], most: usize) -> ReferencedItems {
    let mut named = ReferencedItems::default();
    let mut count = 0;
    for item in items {
        if count >= most {
            break;
        }
        let list = item
            .get(REFERENCES_LIST)
            .and_then(|list| list.as_l().ok())
            .into_iter()
            .flatten();
        for reference in list.filter_map(|text| DueReference::read(text.as_s().ok()?)) {
            count += reference.ends;
            named.named.push(reference);
        }
        named.references.extend(ItemKey::of(item));
    }
    named
}

/// An id as text in sets.
fn identity(id: &PendingEventId) -> String {
    let (kind, event_id, updated, content) = id.parts();
    // An update has the id of the event that it replaces, and records that differ may claim one id:
    // closing one must not close the other.
    let update = if updated { '+' } else { '-' };
    format!("{kind}{update}{content:016x}{event_id}")
}

/// Ids of closed events in the items of a segment.
fn closed(items: &[Attributes]) -> HashSet<&String> {
    items
        .iter()
        .filter_map(|item| item.get(SHUT_SET).and_then(|set| set.as_ss().ok()))
        .flatten()
        .collect()
}

/// Of the items of a segment, those with these digests: the others are not due yet, or closed.
fn with_digests(items: &[Attributes], digests: &BTreeSet<String>) -> Vec<Attributes> {
    items
        .iter()
        .filter(|item| {
            text_of(item, SK)
                .and_then(keys::digest_of_pending)
                .is_some_and(|digest| digests.contains(digest))
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{references::REFERENCES, *};
    use crate::dynamodb::table::tests::uncalled;
    use secretrail_engine::state::contract::end;

    fn store() -> StoredPendingEvents {
        StoredPendingEvents::new(Arc::new(uncalled()), 60)
    }

    fn place(pk: &str) -> CorrelationSegment {
        CorrelationSegment {
            pk: pk.to_owned(),
            segment: "0000000001".to_owned(),
        }
    }

    fn reference(pk: &str, digest: &str, ends: usize) -> DueReference {
        DueReference {
            place: place(pk),
            digest: digest.to_owned(),
            ends,
        }
    }

    /// Items of partition `due` as the table returns them: with their keys.
    fn due_items(references: DueReferences) -> Vec<Attributes> {
        let items = store().due_items(references).into_iter();
        items
            .map(|(key, mut item)| {
                item.extend(key.attributes());
                item
            })
            .collect()
    }

    #[test]
    fn a_reference_is_read_back() {
        let one = reference("pending#0a", "d1", 12);
        assert_eq!(one.written(), "pending#0a 0000000001 d1 12");
        assert_eq!(DueReference::read(&one.written()), Some(one));
        // As an earlier version wrote it.
        let old = DueReference::read("pending#0a 0000000001 d1");
        assert_eq!(old, Some(reference("pending#0a", "d1", 1)));
        assert_eq!(DueReference::read("pending#0a 0000000001"), None);
    }

    #[test]
    fn pending_events_wait_from_their_arrival_or_delivery_whichever_is_later() {
        // Delivered at once, in one segment of one correlation group.
        let ends = [end("e1", 100, "ann"), end("e2", 200, "ann")];
        let waits_from = |arrived| -> Vec<i64> {
            let (usual, _) = by_correlation_group(&ends, EventTime(arrived));
            usual.keys().map(|(from, _)| from.0).collect()
        };
        assert_eq!(waits_from(0), [100, 200]);
        assert_eq!(waits_from(150), [150, 200]);
        assert_eq!(waits_from(900), [900]);
    }

    #[test]
    fn every_item_of_pending_events_is_referred_to() {
        let ends = [
            end("e1", 0, "ann"),
            end("e2", 1, "bob"),
            end("e3", 600, "ann"),
        ];
        let (usual, _) = by_correlation_group(&ends, EventTime(9));
        let (items, references) = store().correlation_group_items(usual);
        let named = named(&due_items(references), usize::MAX);
        let mut referred: Vec<ItemKey> = Vec::new();
        for (place, digests) in &by_segment(&named.named) {
            referred.extend(digests.iter().map(|digest| place.pending(digest)));
        }
        let mut written: Vec<ItemKey> = items.into_iter().map(|(key, _)| key).collect();
        written.sort();
        referred.sort();
        assert_eq!(written.len(), 3);
        assert_eq!(written, referred);
    }

    #[test]
    fn items_of_what_is_due_are_taken_whole_until_there_are_enough() {
        let references = |n: i64| vec![reference("pending#0a", &n.to_string(), 10)];
        let items = due_items((0..4).map(|n| (EventTime(n), references(n))).collect());
        let taken = |most| named(&items, most).references.len();
        assert_eq!([0, 1, 10, 11, 40, 99].map(taken), [0, 1, 1, 2, 4, 4]);
    }

    #[test]
    fn many_references_are_in_several_items() {
        let references: Vec<DueReference> = (0..=REFERENCES)
            .map(|n| reference("pending#0a", &n.to_string(), 1))
            .collect();
        let items = due_items([(EventTime(7), references)].into());
        assert_eq!(items.len(), 2);
        let digests = by_segment(&named(&items, usize::MAX).named);
        assert_eq!(
            digests.get(&place("pending#0a")).map(BTreeSet::len),
            Some(REFERENCES + 1)
        );
    }

    #[test]
    fn events_of_a_busy_actor_come_apart_by_their_times() {
        let ends: Vec<Arc<PendingEvent>> = (0..1_001)
            .map(|n| end(&format!("e{n}"), n * 7 % 30, "ann"))
            .chain([end("b", 5, "bob")])
            .collect();
        let (usual, busy) = by_correlation_group(&ends, EventTime(900));
        assert_eq!(usual.values().map(Vec::len).sum::<usize>(), 1, "only bob");
        let times: Vec<i64> = busy.keys().map(|time| time.0).collect();
        assert_eq!(times, [0, 10, 20]);
        let all = busy.values().flat_map(BTreeMap::values);
        assert_eq!(all.map(Vec::len).sum::<usize>(), 1_001);
        // They are due in the order of their times, whatever came first.
        let keys = busy.into_iter().flat_map(|(time, groups)| {
            let (_, references) = store().correlation_group_items(groups);
            let items = store().due_of_busy_items(time, references);
            items.into_iter().map(|(key, _)| key.sk)
        });
        let keys: Vec<String> = keys.collect();
        assert!(keys.is_sorted() && keys.len() == 3, "{keys:?}");
        let since = keys.iter().map(|key| keys::since_of_due(key));
        assert!(since.eq([Some(EventTime(900)); 3]));
    }

    #[test]
    fn an_item_of_what_is_due_refers_to_few_events() {
        let many = |ends| reference("pending#0a", "d", ends);
        let sizes = |all: &[DueReference]| -> Vec<usize> {
            let together = references_together(all).into_iter();
            together.map(<[DueReference]>::len).collect()
        };
        assert_eq!(sizes(&[many(600), many(300), many(200)]), [2, 1]);
        assert_eq!(sizes(&[many(5_000), many(1)]), [1, 1]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn what_is_closed_is_found_closed() {
        let ends = [end("e1", 0, "ann"), end("e2", 1, "ann")];
        let shut = [(place("pending#0a"), [identity(&ends[0].id)].into())].into();
        let items: Vec<Attributes> = store()
            .closed_items(shut)
            .into_iter()
            .map(|(_, item)| item)
            .collect();
        let closed = closed(&items);
        assert!(closed.contains(&identity(&ends[0].id)));
        assert!(!closed.contains(&identity(&ends[1].id)));
    }

    #[test]
    fn identities_in_sets_stay_as_they_are() {
        let of = |kind, updated, content| {
            identity(&PendingEventId::from_parts(
                kind,
                "e1".into(),
                updated,
                content,
            ))
        };
        let expected = ["0-0000000000000000e1", "1+00000000000000ffe1"];
        assert_eq!([of(0, false, 0), of(1, true, 255)], expected);
    }

    #[test]
    fn only_items_that_are_due_are_opened() {
        let place = place("pending#0a");
        let items = [place.pending("d1"), place.pending("d2"), place.closed("d1")];
        let items = items.map(|key| key.attributes());
        let found = with_digests(&items, &["d1".to_owned()].into());
        assert_eq!(found, [place.pending("d1").attributes()]);
    }
}
