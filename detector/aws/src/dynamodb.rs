//! State in one DynamoDB table. Every item has a partition key `pk`, a sort key `sk`, and an expiry `ttl` in epoch seconds.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | facts of a window | `window#` digest of rule and the group's first field | slot of event time `#` digest of the content |
//! | rules of a window that have facts | `slots#` rule | hour `#` slot |
//! | loose ends of a scene | `scene#` digest of actor and region | slot `#end#` digest of the content |
//! | closed loose ends of a scene | the same | slot `#shut#` digest of the content |
//! | copies in other accounts | `shared#` sharedEventID | digest of the content |
//! | what is due | `due` | since when it waits `#` digest of the content |
//! | coverage | `coverage#` account `#` region | hour |
//! | what was seen | `seen#` digest of the key | `-` |
//! | alert | `alert#` id | `-` |
//! | alert to be published | `outbox` | id |
//! | object ledger | `object#` digest of bucket, key and version | `-` |
//! | when the last object came | `last-object` | `-` |
//! | what a face keeps | `kept#` name | `-` |
//!
//! Content that many may write at once is only ever added: the digest of the content is part of the key, so that writing it
//! again changes nothing and nobody overwrites what another wrote. What is decided once (an alert) or narrowed (what was
//! seen) is written on a condition. Every read is strongly consistent.

mod alerts;
mod ledger;
mod seen;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use secretrail_engine::alert::{Alert, AlertId};
use secretrail_engine::coverage::CoverageMark;
use secretrail_engine::digest::digest;
use secretrail_engine::fact::{Fact, FactSet, RuleRange, WindowKey, WindowRange};
use secretrail_engine::ids::Text;
use secretrail_engine::limits::SEEN_GRAINS;
use secretrail_engine::loose_end::{LooseEnd, LooseEndId, SceneKey, SceneRange};
use secretrail_engine::seen::{Memory, Sighting, Times};
use secretrail_engine::state::item_v1::{self, ItemError, Packed};
use secretrail_engine::state::{Due, StateError, StateStore};
use secretrail_engine::time::EventTime;

pub use self::ledger::{ObjectKey, ObjectState};
use self::table::{Attributes, Key, Range, Table, bytes, bytes_of, number, text, text_of};
use crate::retry::Retry;

/// Length in seconds of the slots of event time in sort keys: a read of a window reads whole slots.
const SLOT_SECS: i64 = 600;

/// References in one item of what is due.
const REFERENCES: usize = 500;

/// Identities in one item of what is closed.
const SHUT: usize = 2_000;

/// Things that a process remembers to have written, so as not to write them again.
const REMEMBERED: usize = 100_000;

const DUE: &str = "due";
const CONTENT: &str = "content";
const TTL: &str = "ttl";

/// How long items are kept, in seconds from when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Facts: the longest window of the rules, and as long as late deliveries are counted with the rest.
    pub facts_secs: i64,
    /// Loose ends and coverage: the horizon, and as long as late halves are joined.
    pub ends_secs: i64,
    /// Alerts and objects: as long as CloudTrail or a queue may deliver something again.
    pub alerts_secs: i64,
    /// What was seen: the memory of rules about what is new.
    pub seen_secs: i64,
}

impl Default for Retention {
    /// CloudTrail delivers again for 30 days when it could not reach the bucket.
    fn default() -> Self {
        let day = 86_400;
        Self {
            facts_secs: 7 * day,
            ends_secs: 2 * day,
            alerts_secs: 45 * day,
            seen_secs: 100 * day,
        }
    }
}

/// Gives the time now.
pub type Clock = Arc<dyn Fn() -> EventTime + Send + Sync>;

/// The store.
pub struct DynamoStore {
    table: Table,
    retention: Retention,
    /// [`Retention::facts_secs`], which follows the rules.
    facts_secs: AtomicI64,
    clock: Clock,
    /// Rules of windows, hours and slots that this process has noted.
    slots: Mutex<HashSet<(Text, String, usize)>>,
    /// Coverage that this process has written.
    covered: Mutex<HashSet<CoverageMark>>,
    /// Times under keys that are known to be there: the grain of the memory, and the first time in it.
    seen: Mutex<HashMap<(Text, i64), EventTime>>,
}

/// What closes loose ends: the items that refer to them, and their identities by partition and slot.
#[derive(Debug, Default)]
pub struct Receipt {
    references: Vec<Key>,
    shut: BTreeMap<(String, String), BTreeSet<String>>,
}

impl DynamoStore {
    /// A store in a table that exists.
    #[must_use]
    pub fn new(
        client: Client,
        table: String,
        retention: Retention,
        retry: Retry,
        clock: Clock,
    ) -> Self {
        Self {
            table: Table::new(client, table, retry),
            facts_secs: AtomicI64::new(retention.facts_secs),
            retention,
            clock,
            slots: Mutex::default(),
            covered: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Keeps the facts that are written from now on for so many seconds.
    pub fn keep_facts_for(&self, secs: i64) {
        self.facts_secs.store(secs, Ordering::Relaxed);
    }

    /// Calls made so far, each try counted once.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.table.calls()
    }

    /// The name of the table.
    #[must_use]
    pub fn name(&self) -> &str {
        self.table.name()
    }

    fn expiry(&self, secs: i64) -> (String, AttributeValue) {
        (TTL.to_owned(), number((self.clock)().plus(secs).0))
    }

    fn packed(&self, packed: Packed, secs: i64) -> Attributes {
        HashMap::from([(CONTENT.to_owned(), bytes(packed.bytes)), self.expiry(secs)])
    }

    fn unreadable(&self, item: &Attributes, error: &ItemError) -> StateError {
        let key = Key::of(item)
            .map(|key| format!("{} {}", key.pk, key.sk))
            .unwrap_or_default();
        StateError {
            message: format!("item {key} of table {}: {error}", self.table.name()),
        }
    }

    /// What the items hold.
    fn contents<T>(
        &self,
        items: &[Attributes],
        unpack: impl Fn(&[u8]) -> Result<Vec<T>, ItemError>,
    ) -> Result<Vec<T>, StateError> {
        let mut all = Vec::new();
        for item in items {
            if let Some(bytes) = bytes_of(item, CONTENT) {
                all.extend(unpack(bytes).map_err(|error| self.unreadable(item, &error))?);
            }
        }
        Ok(all)
    }
}

/// Event time in sort keys. Times before 1970 come from broken clocks and share the first slot.
fn slot(time: EventTime) -> String {
    format!("{:010}", time.0.max(0).div_euclid(SLOT_SECS))
}

/// The hour of an event time in sort keys.
fn hour(time: EventTime) -> String {
    format!("{:08}", time.0.max(0).div_euclid(3_600))
}

/// Groups that share their first field share a partition: what one principal does with a hundred secrets is one read.
fn window_partition(key: &WindowKey) -> String {
    let first = key.group.first().map(|(field, value)| [&**field, &**value]);
    let parts: Vec<&str> = std::iter::once(&*key.rule)
        .chain(first.into_iter().flatten())
        .collect();
    format!("window#{}", digest(&parts))
}

fn scene_partition(scene: &SceneKey) -> String {
    format!("scene#{}", digest(&[&scene.actor, &scene.region]))
}

fn coverage_key(mark: &CoverageMark) -> Key {
    Key::new(
        format!("coverage#{}#{}", mark.account, mark.region),
        mark.bucket.to_string(),
    )
}

/// An identity as text in sets.
fn identity(id: &LooseEndId) -> String {
    let (kind, event_id, updated) = id.parts();
    format!("{kind}{}{event_id}", if updated { '+' } else { '-' })
}

/// Of several copies of one loose end, the one that every reader chooses.
fn distinct(ends: Vec<Arc<LooseEnd>>) -> Vec<Arc<LooseEnd>> {
    let mut best: HashMap<LooseEndId, Arc<LooseEnd>> = HashMap::with_capacity(ends.len());
    for end in ends {
        match best.get_mut(&end.id) {
            Some(known)
                if end.observation.head().preference() > known.observation.head().preference() =>
            {
                *known = end
            }
            Some(_) => {}
            None => drop(best.insert(end.id.clone(), end)),
        }
    }
    best.into_values().collect()
}

/// Remembers a thing unless there are too many.
fn remember<T: Hash + Eq>(known: &Mutex<HashSet<T>>, things: impl IntoIterator<Item = T>) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() > REMEMBERED {
        known.clear();
    }
    known.extend(things);
}

impl DynamoStore {
    /// The open loose ends of the items that are due, by partition, slot and digest, and what closes them.
    async fn open(
        &self,
        groups: BTreeMap<(String, String), BTreeSet<String>>,
    ) -> Result<
        (
            Vec<Arc<LooseEnd>>,
            BTreeMap<(String, String), BTreeSet<String>>,
        ),
        StateError,
    > {
        let range = |(pk, slot): &(String, String)| Range {
            pk: pk.clone(),
            from: format!("{slot}#"),
            to: format!("{slot}#~"),
        };
        let items = self
            .table
            .query_all(groups.keys().map(range).collect())
            .await?;
        let (mut open, mut shut) = (Vec::new(), BTreeMap::new());
        for ((place, digests), items) in groups.into_iter().zip(items) {
            let closed: HashSet<&String> = items
                .iter()
                .filter_map(|item| item.get("shut").and_then(|set| set.as_ss().ok()))
                .flatten()
                .collect();
            let is_due = |item: &&Attributes| {
                let digest = text_of(item, table::SK)
                    .and_then(|sk| sk.rsplit_once("#end#"))
                    .map(|(_, digest)| digest);
                digest.is_some_and(|digest| digests.contains(digest))
            };
            let due: Vec<Attributes> = items.iter().filter(is_due).cloned().collect();
            let mut ends = self.contents(&due, item_v1::unpack_ends)?;
            ends.retain(|end| !closed.contains(&identity(&end.id)));
            if !ends.is_empty() {
                shut.insert(place, ends.iter().map(|end| identity(&end.id)).collect());
            }
            open.extend(ends);
        }
        Ok((distinct(open), shut))
    }
}

impl StateStore for DynamoStore {
    type Receipt = Receipt;

    async fn put_facts(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        let mut windows: HashMap<(String, String), Vec<(item_v1::Group, Fact)>> = HashMap::new();
        let mut slots: HashSet<(Text, String, usize)> = HashSet::new();
        for (key, fact) in facts {
            slots.insert((key.rule.clone(), hour(fact.time), fact.slot));
            windows
                .entry((window_partition(&key), slot(fact.time)))
                .or_default()
                .push((key.group, fact));
        }
        let secs = self.facts_secs.load(Ordering::Relaxed);
        let items = windows.into_iter().flat_map(|((pk, slot), facts)| {
            let item = move |packed: Packed| {
                (
                    Key::new(&pk, format!("{slot}#{}", packed.digest)),
                    self.packed(packed, secs),
                )
            };
            item_v1::pack_facts(facts).into_iter().map(item)
        });
        {
            let known = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|slot| !known.contains(slot));
        }
        let marks = slots.iter().map(|(rule, hour, slot)| {
            (
                Key::new(format!("slots#{rule}"), format!("{hour}#{slot}")),
                HashMap::from([self.expiry(secs)]),
            )
        });
        self.table.put(items.chain(marks)).await?;
        remember(&self.slots, slots);
        Ok(())
    }

    async fn facts(&self, ranges: &[WindowRange]) -> Result<Vec<Vec<Fact>>, StateError> {
        let mut spans: BTreeMap<String, (EventTime, EventTime)> = BTreeMap::new();
        for range in ranges {
            let span = spans
                .entry(window_partition(&range.key))
                .or_insert((range.from, range.to));
            *span = (span.0.min(range.from), span.1.max(range.to));
        }
        let range = |(pk, (from, to)): (&String, &(EventTime, EventTime))| Range {
            pk: pk.clone(),
            from: format!("{}#", slot(*from)),
            to: format!("{}#~", slot(*to)),
        };
        let items = self
            .table
            .query_all(spans.iter().map(range).collect())
            .await?;
        let asked: HashSet<(String, &item_v1::Group)> = ranges
            .iter()
            .map(|range| (window_partition(&range.key), &range.key.group))
            .collect();
        let mut sets: HashMap<(String, item_v1::Group), FactSet> = HashMap::new();
        for (pk, items) in spans.into_keys().zip(items) {
            for (group, fact) in self.contents(&items, item_v1::unpack_facts)? {
                // Other groups of the partition are none of ours.
                if asked.contains(&(pk.clone(), &group)) {
                    sets.entry((pk.clone(), group)).or_default().add(fact);
                }
            }
        }
        let read = |range: &WindowRange| {
            let set = sets
                .get(&(window_partition(&range.key), range.key.group.clone()))
                .into_iter();
            set.flat_map(|set| set.between(range.from, range.to))
                .cloned()
                .collect()
        };
        Ok(ranges.iter().map(read).collect())
    }

    async fn slots(&self, windows: &[RuleRange]) -> Result<Vec<BTreeSet<usize>>, StateError> {
        let range = |RuleRange { rule, from, to }: &RuleRange| Range {
            pk: format!("slots#{rule}"),
            from: format!("{}#", hour(*from)),
            to: format!("{}#~", hour(*to)),
        };
        let items = self
            .table
            .query_all(windows.iter().map(range).collect())
            .await?;
        let slot = |item: &Attributes| text_of(item, table::SK)?.rsplit_once('#')?.1.parse().ok();
        Ok(items
            .iter()
            .map(|items| items.iter().filter_map(slot).collect())
            .collect())
    }

    async fn put_loose_ends(
        &self,
        ends: Vec<Arc<LooseEnd>>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        let mut scenes: BTreeMap<(EventTime, String, String), Vec<Arc<LooseEnd>>> = BTreeMap::new();
        let mut shared: BTreeMap<Text, Vec<Arc<LooseEnd>>> = BTreeMap::new();
        for end in ends {
            let head = end.observation.head();
            if let Some(id) = &head.shared_id {
                shared.entry(id.clone()).or_default().push(end.clone());
            }
            let place = (
                head.delivered.max(arrived),
                scene_partition(&end.scene),
                slot(head.time),
            );
            scenes.entry(place).or_default().push(end);
        }
        let secs = self.retention.ends_secs;
        let mut items = Vec::new();
        let mut references: BTreeMap<EventTime, Vec<String>> = BTreeMap::new();
        for ((waits_from, pk, slot), ends) in scenes {
            for packed in item_v1::pack_ends(&ends) {
                let reference = format!("{pk} {slot} {} {}", packed.digest, ends.len());
                references.entry(waits_from).or_default().push(reference);
                items.push((
                    Key::new(&pk, format!("{slot}#end#{}", packed.digest)),
                    self.packed(packed, secs),
                ));
            }
        }
        for (id, ends) in shared {
            let packed = item_v1::pack_ends(&ends).into_iter();
            let pk = format!("shared#{id}");
            items.extend(
                packed.map(|packed| (Key::new(&pk, &packed.digest), self.packed(packed, secs))),
            );
        }
        self.table.put(items).await?;
        // Only now, so that nothing refers to what is not there.
        let due = references.into_iter().flat_map(|(waits_from, references)| {
            let item = |references: &[String]| {
                let parts: Vec<&str> = references.iter().map(String::as_str).collect();
                let key = Key::new(
                    DUE,
                    format!("{:012}#{}", waits_from.0.max(0), digest(&parts)),
                );
                let list =
                    AttributeValue::L(references.iter().map(|reference| text(reference)).collect());
                (
                    key,
                    HashMap::from([("references".to_owned(), list), self.expiry(secs)]),
                )
            };
            references.chunks(REFERENCES).map(item).collect::<Vec<_>>()
        });
        self.table.put(due).await
    }

    async fn due_loose_ends(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<Due<Receipt>, StateError> {
        let to = format!("{:012}#~", since.0.clamp(0, 999_999_999_999));
        loop {
            let range = Range {
                pk: DUE.to_owned(),
                from: "0".to_owned(),
                to: to.clone(),
            };
            // An item refers to at least one loose end.
            let items = self
                .table
                .query(range, most.div_ceil(REFERENCES).clamp(1, 100))
                .await?;
            let (mut groups, mut receipt, mut count) = (BTreeMap::new(), Receipt::default(), 0);
            for item in &items {
                if count >= most {
                    break;
                }
                let references = item
                    .get("references")
                    .and_then(|list| list.as_l().ok())
                    .into_iter()
                    .flatten();
                for reference in references.filter_map(|reference| reference.as_s().ok()) {
                    let mut parts = reference.split(' ');
                    if let (Some(pk), Some(slot), Some(digest)) =
                        (parts.next(), parts.next(), parts.next())
                    {
                        let digests: &mut BTreeSet<String> =
                            groups.entry((pk.to_owned(), slot.to_owned())).or_default();
                        digests.insert(digest.to_owned());
                        count += parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
                    }
                }
                receipt.references.extend(Key::of(item));
            }
            let (ends, shut) = self.open(groups).await?;
            if !ends.is_empty() || receipt.references.is_empty() {
                receipt.shut = shut;
                return Ok(Due { ends, receipt });
            }
            // All of it has been closed before: what came again, or was closed by a sweep that did not finish.
            self.table.delete(receipt.references).await?;
        }
    }

    async fn loose_ends_in(
        &self,
        scenes: &[SceneRange],
    ) -> Result<Vec<Vec<Arc<LooseEnd>>>, StateError> {
        let range = |SceneRange { scene, from, to }: &SceneRange| Range {
            pk: scene_partition(scene),
            from: format!("{}#end#", slot(*from)),
            to: format!("{}#end#~", slot(*to)),
        };
        let items = self
            .table
            .query_all(scenes.iter().map(range).collect())
            .await?;
        let mut all = Vec::with_capacity(scenes.len());
        for (range, items) in scenes.iter().zip(items) {
            let mut ends = self.contents(&items, item_v1::unpack_ends)?;
            ends.retain(|end| (range.from..=range.to).contains(&end.time));
            all.push(distinct(ends));
        }
        Ok(all)
    }

    async fn loose_ends_sharing(
        &self,
        shared_ids: &[Text],
    ) -> Result<Vec<Arc<LooseEnd>>, StateError> {
        let ids: BTreeSet<&Text> = shared_ids.iter().collect();
        let range = |id: &Text| Range {
            pk: format!("shared#{id}"),
            from: "0".to_owned(),
            to: "~".to_owned(),
        };
        let items = self
            .table
            .query_all(ids.into_iter().map(range).collect())
            .await?;
        Ok(distinct(
            self.contents(&items.concat(), item_v1::unpack_ends)?,
        ))
    }

    async fn close_loose_ends(&self, receipt: Receipt) -> Result<(), StateError> {
        let items = receipt.shut.into_iter().flat_map(|((pk, slot), shut)| {
            let shut: Vec<String> = shut.into_iter().collect();
            let item = |ids: &[String]| {
                let parts: Vec<&str> = ids.iter().map(String::as_str).collect();
                let key = Key::new(&pk, format!("{slot}#shut#{}", digest(&parts)));
                let set = ("shut".to_owned(), AttributeValue::Ss(ids.to_vec()));
                (
                    key,
                    HashMap::from([set, self.expiry(self.retention.ends_secs)]),
                )
            };
            shut.chunks(SHUT).map(item).collect::<Vec<_>>()
        });
        self.table.put(items).await?;
        // Only now, so that a crash leaves what is closed to be found closed.
        self.table.delete(receipt.references).await
    }

    async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        let new: Vec<CoverageMark> = {
            let known = self.covered.lock().unwrap_or_else(PoisonError::into_inner);
            marks
                .into_iter()
                .filter(|mark| !known.contains(mark))
                .collect()
        };
        let item = |mark| {
            (
                coverage_key(mark),
                HashMap::from([self.expiry(self.retention.ends_secs)]),
            )
        };
        self.table.put(new.iter().map(item)).await?;
        remember(&self.covered, new);
        Ok(())
    }

    async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        let found = self
            .table
            .get(marks.iter().map(coverage_key), Some("pk, sk"))
            .await?;
        Ok(marks
            .iter()
            .map(|mark| found.contains_key(&coverage_key(mark)))
            .collect())
    }

    async fn seen(&self, keys: &[Text]) -> Result<Vec<Times>, StateError> {
        self.seen_times(keys).await
    }

    async fn put_seen(&self, times: Vec<Sighting>, memory: Memory) -> Result<(), StateError> {
        self.remember_seen(times, memory).await
    }

    async fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        self.create(alerts, now).await
    }

    async fn unpublished(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> Result<Vec<Alert>, StateError> {
        self.waiting(created_before, most).await
    }

    async fn mark_published(&self, ids: &[AlertId]) -> Result<(), StateError> {
        self.take_out(ids).await
    }
}

/// Times that are kept under a key: those of the memory, and as many again for late deliveries.
fn grains_kept() -> usize {
    usize::try_from(2 * SEEN_GRAINS).unwrap_or(usize::MAX)
}
