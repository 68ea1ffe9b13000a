//! Loose ends to accesses: of copies the best, joined within their scenes, and what is missing
//! decided.

use std::sync::Arc;

use ahash::{HashMap, HashSet};

use super::Pipeline;
use crate::access::{Access, AccessDecrypt, DecryptStatus};
use crate::copies::BestCopies;
use crate::correlate::{self, AccessRow, CorrelationGroup};
use crate::coverage::CoverageMark;
use crate::ids::SharedStr;
use crate::limits::SETTLE_MARGIN_SECS;
use crate::observation::{EventHeader, Observation};
use crate::parallel;
use crate::pending_event::{CorrelationKey, CorrelationRange, PendingEvent, PendingEventId};
use crate::report::ReadReport;
use crate::state::{StateError, StateStore};
use crate::time::EventTime;

/// What loose ends that were joined come to.
pub(super) struct JoinedEvents {
    /// The rows that are told now.
    pub(super) rows: Vec<AccessRow>,
    /// How many key uses a change explains.
    pub(super) explained: u64,
    /// How many rows have a half that came after the horizon.
    pub(super) late: u64,
}

/// The rows of all, and their counts.
pub(super) fn all_rows(joined: Vec<JoinedEvents>, report: &mut ReadReport) -> Vec<AccessRow> {
    let mut rows = Vec::with_capacity(joined.iter().map(|joined| joined.rows.len()).sum());
    for mut joined in joined {
        report.explained += joined.explained;
        report.late += joined.late;
        rows.append(&mut joined.rows);
    }
    rows
}

impl Pipeline<'_> {
    /// Joins the loose ends with everything around them, to accesses in the order of the ledger.
    /// With `finally`, what is missing is absent or unknown; without, it is pending.
    pub(super) async fn finalize<S: StateStore>(
        &self,
        store: &S,
        due: &[Arc<PendingEvent>],
        finally: bool,
        report: &mut ReadReport,
    ) -> Result<Vec<Arc<Access>>, StateError> {
        // What was settled before is looked at again: it may have taken a key use that would
        // otherwise be given away twice.
        let around = store.pending_events_in(&correlation_groups_of(due)).await?;
        let best = best_copies(store, &around).await?;
        for end in due {
            report.count_observation(&end.observation, best.is_best(end));
        }
        let due_ids = DueIds::new(due, &around);
        let joined = parallel::map(self.threads, &around, |ends| {
            self.join(
                ends,
                &best,
                |row| due_ids.tell(row, finally),
                |kms_decrypt| due_ids.have_kms_decrypt(kms_decrypt),
            )
        });
        let mut rows = all_rows(joined, report);
        if finally {
            self.decide_absence(store, &mut rows).await?;
        }
        Ok(in_ledger_order(rows))
    }

    /// Joins the loose ends of one scene, of copies the best, and keeps the rows and the explained
    /// key uses that are told now. The others are there because what is told depends on them.
    pub(super) fn join(
        &self,
        ends: &[Arc<PendingEvent>],
        best: &BestCopies,
        tells_row: impl Fn(&AccessRow) -> bool,
        tells_kms_decrypt: impl Fn(&EventHeader) -> bool,
    ) -> JoinedEvents {
        let best = ends.iter().filter(|end| best.is_best(end));
        let paired = correlate::correlate(correlation_group(best.map(|end| &**end)));
        let explained = paired
            .explained
            .iter()
            .filter(|head| tells_kms_decrypt(head));
        let explained = explained.count() as u64;
        let mut rows = paired.rows;
        rows.retain(tells_row);
        let late = self.late(&rows);
        JoinedEvents {
            rows,
            explained,
            late,
        }
    }

    /// How many of the rows that are asked for have a half that came after the horizon.
    fn late(&self, rows: &[AccessRow]) -> u64 {
        let asked_for = rows.iter().filter(|row| self.selection.takes(&row.access));
        let late = asked_for.filter(|row| {
            let halves = row.read.as_ref().zip(row.kms_decrypt.as_ref());
            halves.is_some_and(|(read, kms_decrypt)| {
                read.delivered.distance(kms_decrypt.delivered) > self.allowed_lateness_secs
            })
        });
        late.count() as u64
    }

    /// What is missing is absent if a key use would prove something and could have been seen there;
    /// else nobody knows.
    pub(super) async fn decide_absence<S: StateStore>(
        &self,
        store: &S,
        rows: &mut [AccessRow],
    ) -> Result<(), StateError> {
        let open: Vec<&mut AccessRow> = rows
            .iter_mut()
            .filter(|row| row.access.decrypt.status == DecryptStatus::Pending)
            .collect();
        let marks: Vec<CoverageMark> = open
            .iter()
            .flat_map(|row| mark_of(&row.access.head).around())
            .collect();
        let covered = store.covered(&marks).await?;
        // Three marks for each row: its hour and the two beside it, since what surrounds a read at
        // the end of an hour is in the next.
        for (row, covered) in open.into_iter().zip(covered.chunks(3)) {
            let is_proven = row.absence_proves && covered.contains(&true);
            let status = if is_proven {
                DecryptStatus::Absent
            } else {
                DecryptStatus::Unknown
            };
            Arc::make_mut(&mut row.access).decrypt = AccessDecrypt::only(status);
        }
        Ok(())
    }
}

fn mark_of(head: &EventHeader) -> CoverageMark {
    CoverageMark::at(head.account.clone(), head.region.clone(), head.time)
}

/// By time, which nearly always decides and stands beside the pointer; then as the ledger says.
fn in_ledger_order(rows: Vec<AccessRow>) -> Vec<Arc<Access>> {
    let mut accesses: Vec<_> = rows
        .into_iter()
        .map(|row| (row.access.head.time, row.access))
        .collect();
    accesses.sort_unstable_by(|(a_time, a), (b_time, b)| {
        a_time
            .cmp(b_time)
            .then_with(|| a.ledger_order().cmp(&b.ledger_order()))
    });
    accesses.into_iter().map(|(_, access)| access).collect()
}

/// The loose ends that are due, among all that are around them; `None` when they are all of them.
struct DueIds(Option<HashSet<PendingEventId>>);

impl DueIds {
    fn new(due: &[Arc<PendingEvent>], around: &[Vec<Arc<PendingEvent>>]) -> Self {
        // What is due is part of what is around it, so that equal numbers say that it is all of
        // it. In a replay it always is, and nothing need be looked for.
        let all = around.iter().map(Vec::len).sum::<usize>() == due.len();
        Self((!all).then(|| due.iter().map(|end| end.id.clone()).collect()))
    }

    /// Whether a row is told now.
    fn tell(&self, row: &AccessRow, finally: bool) -> bool {
        let Some(due) = &self.0 else {
            return true;
        };
        let halves = [
            row.read.as_deref().map(PendingEventId::read),
            row.kms_decrypt.as_deref().map(PendingEventId::kms_decrypt),
        ];
        let mut halves = halves.into_iter().flatten();
        // A row of which one half was settled before has been told, and is told again only to be
        // completed.
        if finally {
            halves.any(|id| due.contains(&id))
        } else {
            halves.all(|id| due.contains(&id))
        }
    }

    fn have_kms_decrypt(&self, head: &EventHeader) -> bool {
        let due = self.0.as_ref();
        due.is_none_or(|due| due.contains(&PendingEventId::kms_decrypt(head)))
    }
}

/// Of each event around, the copy to keep, wherever the others are.
async fn best_copies<S: StateStore>(
    store: &S,
    around: &[Vec<Arc<PendingEvent>>],
) -> Result<BestCopies, StateError> {
    let copied = around.iter().flatten().filter(|end| end.may_have_copies);
    // The account that owns a secret sees another caller than the account of the caller does, so
    // that the twins of an event are in scenes of their own.
    let shared: Vec<SharedStr> = copied
        .clone()
        .filter_map(|end| end.observation.head().shared_id.clone())
        .collect();
    let twins = store.pending_events_sharing(&shared).await?;
    let mut best = BestCopies::default();
    copied.chain(&twins).for_each(|end| best.add(end));
    Ok(best)
}

/// For each scene of the loose ends, the time that could matter for them.
fn correlation_groups_of(due: &[Arc<PendingEvent>]) -> Vec<CorrelationRange> {
    let mut spans: HashMap<&CorrelationKey, (EventTime, EventTime)> = HashMap::default();
    // A store gives the ends of a scene together, as far as it can.
    for ends in due.chunk_by(|a, b| a.correlation_group == b.correlation_group) {
        let Some(first) = ends.first() else { continue };
        let span = spans.entry(&first.correlation_group);
        let span = span.or_insert((first.time, first.time));
        for end in ends {
            *span = (span.0.min(end.time), span.1.max(end.time));
        }
    }
    // A pair is made only if neither half has a nearer one, which may have a nearer one itself, and
    // so on: the margin is many times the tolerance, so that such chains end before it does.
    let correlation_groups =
        spans
            .into_iter()
            .map(|(correlation_group, (from, to))| CorrelationRange {
                correlation_group: correlation_group.clone(),
                from: from.plus(-SETTLE_MARGIN_SECS),
                to: to.plus(SETTLE_MARGIN_SECS),
            });
    let mut correlation_groups: Vec<_> = correlation_groups.collect();
    correlation_groups.sort();
    correlation_groups
}

fn correlation_group<'e>(ends: impl Iterator<Item = &'e PendingEvent>) -> CorrelationGroup {
    let mut correlation_group = CorrelationGroup::default();
    for end in ends {
        match &end.observation {
            Observation::Read(read) => correlation_group.reads.push(read.clone()),
            Observation::KmsDecrypt(kms_decrypt) => {
                correlation_group.kms_decrypts.push(kms_decrypt.clone())
            }
            Observation::Change(change) => correlation_group.changes.push(change.clone()),
        }
    }
    correlation_group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::{decrypt_secret, get_secret};
    use crate::observation::{KmsDecrypt, SecretRead};
    use crate::rule::RuleSet;
    use crate::selection::Selection;
    use crate::state::memory::MemoryStore;

    fn of_read(read: SecretRead) -> Arc<PendingEvent> {
        Arc::new(PendingEvent::new(Observation::Read(Arc::new(read))))
    }

    fn of_use(kms_decrypt: KmsDecrypt) -> Arc<PendingEvent> {
        Arc::new(PendingEvent::new(Observation::KmsDecrypt(Arc::new(
            kms_decrypt,
        ))))
    }

    fn delivered(read: SecretRead, secs: i64) -> SecretRead {
        let mut head = (*read.head).clone();
        head.delivered = EventTime(secs);
        SecretRead {
            head: Arc::new(head),
            ..read
        }
    }

    /// Read and key use of each row that is told when these of all the loose ends are due, how many
    /// of them are late, and how many events there are.
    fn finalized(
        all: &[Arc<PendingEvent>],
        due: &[Arc<PendingEvent>],
        finally: bool,
    ) -> (Vec<String>, ReadReport) {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let pipeline = Pipeline::new(&rules, None, &selection);
        let store = MemoryStore::default();
        let mut report = ReadReport::default();
        let accesses = pollster::block_on(async {
            store
                .put_pending_events(all.to_vec(), EventTime(0))
                .await
                .unwrap();
            pipeline
                .finalize(&store, due, finally, &mut report)
                .await
                .unwrap()
        });
        let reported = accesses.iter().map(|access| {
            let kms_decrypt = access.decrypt.event_id.as_deref().unwrap_or("-");
            format!("{} {kms_decrypt}", access.head.event_id)
        });
        (reported.collect(), report)
    }

    #[test]
    fn a_row_that_was_told_is_told_again_only_to_be_completed() {
        let all = [
            of_read(get_secret("r", 0, "x")),
            of_use(decrypt_secret("k", 0, "x")),
        ];
        let [read, kms_decrypt] = all.clone();
        assert_eq!(finalized(&all, &all, true).0, ["r k"]);
        assert_eq!(
            finalized(&all, &[kms_decrypt], true).0,
            ["r k"],
            "its read was told alone"
        );
        assert_eq!(
            finalized(&all, &[read], false).0,
            [""; 0],
            "a half is no longer pending"
        );
        assert_eq!(finalized(&all, &all, false).0, ["r k"]);
    }

    #[test]
    fn what_is_around_keeps_the_kms_decrypt_that_it_took() {
        // The earlier read was settled with it, and only the later one is due now.
        let all = [
            of_read(get_secret("r1", 0, "x")),
            of_use(decrypt_secret("k", 0, "x")),
            of_read(get_secret("r2", 3, "x")),
        ];
        assert_eq!(finalized(&all, &all[2..], true).0, ["r2 -"]);
    }

    #[test]
    fn a_half_that_came_after_the_allowed_lateness_is_late() {
        let allowed_lateness = crate::limits::ALLOWED_LATENESS_SECS;
        for (secs, late) in [(allowed_lateness, 0), (allowed_lateness + 1, 1)] {
            let read = delivered(get_secret("r", 0, "x"), secs);
            let all = [of_read(read), of_use(decrypt_secret("k", 0, "x"))];
            assert_eq!(finalized(&all, &all, true).1.late, late);
        }
    }

    #[test]
    fn the_worse_copy_is_counted_as_one_and_told_as_none() {
        let mut twin = get_secret("r2", 0, "x");
        let mut read = get_secret("r1", 0, "x");
        for read in [&mut twin, &mut read] {
            Arc::make_mut(&mut read.head).shared_id = Some("s".into());
        }
        let head = Arc::make_mut(&mut twin.head);
        // The owner's record does not name the session: its scene is another one.
        Arc::make_mut(&mut head.principal).actor = None;
        let all = [of_read(read), of_read(twin)];
        let (reported, report) = finalized(&all, &all, true);
        assert_eq!(
            (reported, report.reads, report.duplicates),
            (vec!["r1 -".to_owned()], 1, 1)
        );
        let (reported, _) = finalized(&all, &all[1..], true);
        assert_eq!(
            reported, [""; 0],
            "its better copy is found in the other scene"
        );
    }

    #[test]
    fn each_correlation_group_is_looked_at_once_and_with_a_margin() {
        let mut elsewhere = get_secret("r3", 7, "x");
        Arc::make_mut(&mut elsewhere.head).region = "us-east-1".into();
        let reads = [
            get_secret("r1", 500, "x"),
            elsewhere,
            get_secret("r2", 100, "x"),
        ];
        let ranges = correlation_groups_of(&reads.map(of_read));
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| (&*range.correlation_group.region, range.from.0, range.to.0))
            .collect();
        assert_eq!(ranges.len(), 2);
        assert!(ranges.contains(&("eu-west-1", 40, 560)), "{ranges:?}");
        assert!(ranges.contains(&("us-east-1", -53, 67)), "{ranges:?}");
    }
}
