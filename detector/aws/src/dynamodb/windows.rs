//! Facts of windows, and marks for the slots that have facts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::stream::{self, StreamExt};
use secretrail_engine::{
    fact::{Fact, FactSet, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    state::{
        StateError,
        item_v1::{self, StoredGroup},
    },
    time::EventTime,
};

use super::{
    item::{Attributes, ItemKey, SK, SortKeyRange, text_of},
    keys,
    table::{AT_ONCE, DynamoTable},
    written::RecentlyWritten,
};

/// Facts of windows in the table.
pub(super) struct StoredWindows {
    table: Arc<DynamoTable>,
    /// How long facts are kept, in seconds.
    keep_secs: RwLock<FactRetention>,
    /// Marks that this process has written.
    marked: RecentlyWritten<SlotMark>,
}

/// How long facts are kept, in seconds from when they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRetention {
    /// Those of rules, by the ids of these.
    pub of_rules: HashMap<SharedStr, i64>,
    /// Those of other rules.
    pub others: i64,
}

/// Facts that share items, and how long they are kept.
struct Segment {
    keep_secs: i64,
    facts: Vec<(StoredGroup, Fact)>,
}

/// The mark that a slot of a rule has facts in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SlotMark {
    /// Id of the window rule.
    rule: SharedStr,
    hour: String,
    /// [`Fact::slot`].
    slot: usize,
}

impl StoredWindows {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self {
            table,
            keep_secs: RwLock::new(FactRetention {
                of_rules: HashMap::new(),
                others: keep_secs,
            }),
            marked: RecentlyWritten::default(),
        }
    }

    /// Sets how long facts are kept that are written from now on.
    pub(super) fn keep_for(&self, kept: FactRetention) {
        // The value is whole even after a panic.
        *self
            .keep_secs
            .write()
            .unwrap_or_else(PoisonError::into_inner) = kept;
    }

    fn kept_secs(&self, rule: &str) -> i64 {
        let kept = self.keep_secs.read();
        let kept = kept.unwrap_or_else(PoisonError::into_inner);
        kept.of_rules.get(rule).copied().unwrap_or(kept.others)
    }

    pub(super) async fn put(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        let marks: HashSet<SlotMark> = facts.iter().map(SlotMark::of).collect();
        let marks: Vec<SlotMark> = self.marked.missing(marks);
        let mut items = self.fact_items(facts);
        items.extend(marks.iter().map(|mark| self.mark_item(mark)));
        // Facts and marks in any order: a writer reads a window only after its own writes, so that
        // of several who complete a window together, the last one finds all marks and all facts.
        self.table.put(items).await?;
        self.marked.add(marks);
        Ok(())
    }

    /// Facts that are written together share items: one for each partition and segment, or more
    /// when they are large.
    fn fact_items(&self, facts: Vec<(WindowKey, Fact)>) -> Vec<(ItemKey, Attributes)> {
        let mut segments: HashMap<(String, String), Segment> = HashMap::new();
        for (key, fact) in facts {
            let place = (keys::window_partition(&key), keys::segment(fact.time));
            // A partition has the facts of one rule.
            let segment = segments.entry(place).or_insert_with(|| Segment {
                keep_secs: self.kept_secs(&key.rule),
                facts: Vec::new(),
            });
            segment.facts.push((key.group, fact));
        }
        let mut items = Vec::new();
        for ((partition, segment), Segment { keep_secs, facts }) in segments {
            for packed in item_v1::pack_facts(facts) {
                let key = keys::facts(&partition, &segment, &packed.digest);
                items.push((key, self.table.packed(packed, keep_secs)));
            }
        }
        items
    }

    fn mark_item(&self, mark: &SlotMark) -> (ItemKey, Attributes) {
        let secs = self.kept_secs(&mark.rule);
        let key = keys::slot(&mark.rule, &mark.hour, mark.slot);
        (key, HashMap::from([self.table.expiry(secs)]))
    }

    /// The facts of each range; `None` for those of partitions that are left out, so that not many
    /// more than `most` facts are in memory.
    pub(super) async fn facts_up_to(
        &self,
        ranges: &[WindowRange],
        most: usize,
    ) -> Result<Vec<Option<Vec<Fact>>>, StateError> {
        let spans = spans(ranges);
        let mut partitions = Partitions::asked_for(ranges);
        let mut left = most;
        let mut left_out: HashSet<&str> = spans.iter().map(|span| &*span.partition).collect();
        let mut pages = stream::iter(spans.clone())
            .map(|span| self.some_of(span, most))
            .buffered(AT_ONCE);
        for span in &spans {
            // One that is too large does not keep the small ones after it from being read.
            if left == 0 {
                break;
            }
            let Some(Some(items)) = pages.next().await.transpose()? else {
                continue;
            };
            for (group, fact) in self.table.contents(&items, item_v1::unpack_facts)? {
                partitions.add(&span.partition, &group, fact);
                left = left.saturating_sub(1);
            }
            left_out.remove(&*span.partition);
        }
        let facts = ranges.iter().map(|range| {
            let partition = keys::window_partition(&range.key);
            let is_read = !left_out.contains(&*partition);
            is_read.then(|| partitions.facts(range))
        });
        Ok(facts.collect())
    }

    /// The items of a partition; `None` when there are too many of them for `most` facts.
    async fn some_of(
        &self,
        span: PartitionSpan,
        most: usize,
    ) -> Result<Option<Vec<Attributes>>, StateError> {
        if most == usize::MAX {
            return self.table.query(span.range(), most).await.map(Some);
        }
        let (items, is_whole) = self.table.first_page(&span.range()).await?;
        Ok(is_whole.then_some(items))
    }

    pub(super) async fn facts_in_parts(
        &self,
        ranges: &[WindowRange],
        take: &mut (dyn FnMut(usize, Fact) + Send),
    ) -> Result<(), StateError> {
        let mut asked: HashMap<(String, &StoredGroup), Vec<(usize, &WindowRange)>> = HashMap::new();
        for (index, range) in ranges.iter().enumerate() {
            let place = (keys::window_partition(&range.key), &range.key.group);
            asked.entry(place).or_default().push((index, range));
        }
        for span in spans(ranges) {
            let mut found = |items: Vec<Attributes>| {
                // Item by item: the facts of a page take twenty times its size.
                for item in &items {
                    let item = std::slice::from_ref(item);
                    for (group, fact) in self.table.contents(item, item_v1::unpack_facts)? {
                        let place = (span.partition.clone(), &group);
                        let of_group = asked.get(&place).into_iter().flatten();
                        let holding = of_group
                            .filter(|(_, range)| (range.from..=range.to).contains(&fact.time));
                        holding.for_each(|(index, _)| take(*index, fact.clone()));
                    }
                }
                Ok(())
            };
            self.table.pages(&span.range(), &mut found).await?;
        }
        Ok(())
    }

    pub(super) async fn slots(
        &self,
        ranges: &[RuleRange],
    ) -> Result<Vec<BTreeSet<usize>>, StateError> {
        let asked = ranges.iter().map(keys::slots_in).collect();
        let items = self.table.query_all(asked).await?;
        Ok(items.iter().map(|items| slots_of(items)).collect())
    }
}

impl SlotMark {
    fn of((key, fact): &(WindowKey, Fact)) -> Self {
        Self {
            rule: key.rule.clone(),
            hour: keys::hour(fact.time),
            slot: fact.slot,
        }
    }
}

/// The slots that marks name.
fn slots_of(marks: &[Attributes]) -> BTreeSet<usize> {
    marks
        .iter()
        .filter_map(|mark| keys::slot_of(text_of(mark, SK)?))
        .collect()
}

/// The time range to read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PartitionSpan {
    partition: String,
    from: EventTime,
    to: EventTime,
}

impl PartitionSpan {
    fn range(&self) -> SortKeyRange {
        keys::facts_between(&self.partition, self.from, self.to)
    }
}

/// One span for each partition, around all its ranges: the groups of one principal are one read,
/// not a hundred.
fn spans(ranges: &[WindowRange]) -> Vec<PartitionSpan> {
    let mut spans: BTreeMap<String, (EventTime, EventTime)> = BTreeMap::new();
    for range in ranges {
        let span = spans
            .entry(keys::window_partition(&range.key))
            .or_insert((range.from, range.to));
        *span = (span.0.min(range.from), span.1.max(range.to));
    }
    spans
        .into_iter()
        .map(|(partition, (from, to))| PartitionSpan {
            partition,
            from,
            to,
        })
        .collect()
}

/// Facts of the requested groups, by partition. A partition holds other groups as well.
struct Partitions(HashMap<String, HashMap<StoredGroup, FactSet>>);

impl Partitions {
    fn asked_for(ranges: &[WindowRange]) -> Self {
        let mut partitions: HashMap<String, HashMap<StoredGroup, FactSet>> = HashMap::new();
        for range in ranges {
            partitions
                .entry(keys::window_partition(&range.key))
                .or_default()
                .entry(range.key.group.clone())
                .or_default();
        }
        Self(partitions)
    }

    fn add(&mut self, partition: &str, group: &StoredGroup, fact: Fact) {
        let groups = self.0.get_mut(partition);
        // Groups that were not requested are ignored.
        if let Some(set) = groups.and_then(|groups| groups.get_mut(group)) {
            set.add(fact);
        }
    }

    fn facts(&self, range: &WindowRange) -> Vec<Fact> {
        let groups = self.0.get(&keys::window_partition(&range.key));
        let set = groups.and_then(|groups| groups.get(&range.key.group));
        set.into_iter()
            .flat_map(|set| set.between(range.from, range.to))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::table::tests::uncalled;
    use secretrail_engine::state::contract::{self, window};

    fn windows() -> StoredWindows {
        StoredWindows::new(Arc::new(uncalled()), 60)
    }

    fn fact(secs: i64, slot: usize, value: &str) -> Fact {
        Fact {
            slot,
            ..contract::fact(&format!("e{secs}"), secs, value)
        }
    }

    fn range(name: &str, from: i64, to: i64) -> WindowRange {
        WindowRange {
            key: window(name),
            from: EventTime(from),
            to: EventTime(to),
        }
    }

    #[test]
    fn facts_of_a_segment_share_an_item_whatever_their_order() {
        let facts = [(0, "a"), (599, "b"), (600, "c")]
            .map(|(secs, value)| (window("ann"), fact(secs, 0, value)));
        let keys = |facts: Vec<(WindowKey, Fact)>| -> BTreeSet<ItemKey> {
            let items = windows().fact_items(facts);
            items.into_iter().map(|(key, _)| key).collect()
        };
        let found = keys(facts.to_vec());
        assert_eq!(found.len(), 2);
        assert_eq!(found, keys(facts.into_iter().rev().collect()));
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let facts = vec![
            (window("ann"), fact(5, 1, "a")),
            (window("bob"), fact(6, 0, "b")),
        ];
        let windows = windows();
        let ranges = [range("ann", 0, 5), range("ann", 6, 9), range("bob", 0, 9)];
        let mut partitions = Partitions::asked_for(&ranges);
        for (key, item) in windows.fact_items(facts) {
            let packed = windows.table.contents(&[item], item_v1::unpack_facts);
            for (group, fact) in packed.unwrap() {
                partitions.add(&key.pk, &group, fact);
            }
        }
        let found = ranges.each_ref().map(|range| partitions.facts(range));
        assert_eq!(found[0], [fact(5, 1, "a")]);
        assert!(found[1].is_empty());
        assert_eq!(found[2], [fact(6, 0, "b")]);
    }

    #[test]
    fn groups_that_were_not_requested_are_ignored() {
        let ranges = [range("ann", 0, 9)];
        let mut partitions = Partitions::asked_for(&ranges);
        let partition = keys::window_partition(&window("ann"));
        partitions.add(&partition, &window("bob").group, fact(5, 0, "b"));
        partitions.add("window#elsewhere", &window("ann").group, fact(5, 0, "b"));
        assert!(partitions.facts(&ranges[0]).is_empty());
    }

    #[test]
    fn one_read_spans_all_that_is_asked_of_a_partition() {
        let ranges = [
            range("ann", 50, 60),
            range("ann", 10, 20),
            range("bob", 1, 2),
        ];
        let found: BTreeSet<(i64, i64)> = spans(&ranges)
            .iter()
            .map(|span| (span.from.0, span.to.0))
            .collect();
        assert_eq!(found, [(10, 60), (1, 2)].into());
    }

    #[test]
    fn marks_name_the_rules_that_have_facts() {
        let windows = windows();
        let marks: HashSet<SlotMark> = [fact(5, 0, "a"), fact(7, 0, "b"), fact(9, 11, "c")]
            .map(|fact| SlotMark::of(&(window("ann"), fact)))
            .into();
        assert_eq!(marks.len(), 2, "one for each rule and hour");
        let items: Vec<Attributes> = marks
            .iter()
            .map(|mark| windows.mark_item(mark).0.attributes())
            .collect();
        assert_eq!(slots_of(&items), [0, 11].into());
    }
}
