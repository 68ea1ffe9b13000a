//! Finalises pending events to accesses: chooses the best copies, joins each correlation group, and
//! decides absence.

mod spans;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use ahash::HashSet;

use self::spans::{SpanJoin, spans_of};
use super::Pipeline;
use crate::{
    access::{Access, AccessDecrypt, DecryptStatus},
    copies::BestCopies,
    correlate::{self, AccessRow, CorrelationGroup, CorrelationResult, CrossingPairs},
    coverage::CoverageMark,
    ids::SharedStr,
    observation::{CallOutcome, EventHeader, Observation},
    parallel,
    pending_event::{CorrelationRange, PendingEvent, PendingEventId},
    report::ReadReport,
    state::{StateError, StateStore},
    time::EventTime,
};

/// Number of spans that are joined at a time.
const SPANS: usize = 64;

/// The result of joining pending events.
#[derive(Default)]
pub(super) struct JoinedEvents {
    /// The rows to report now.
    pub(super) rows: Vec<AccessRow>,
    /// Number of KMS Decrypts that a change explains.
    pub(super) explained: u64,
    /// Number of rows with a half that came after the allowed lateness.
    pub(super) late: u64,
}

/// Collects all rows, and adds their counts to the report.
pub(super) fn all_rows(joined: Vec<JoinedEvents>, report: &mut ReadReport) -> Vec<AccessRow> {
    let mut rows = Vec::with_capacity(joined.iter().map(|joined| joined.rows.len()).sum());
    for mut joined in joined {
        report.explained += joined.explained;
        report.late += joined.late;
        rows.append(&mut joined.rows);
    }
    rows
}

/// Adds events to the report.
pub(super) fn count<'e>(
    ends: impl Iterator<Item = &'e Arc<PendingEvent>>,
    best: &BestCopies,
    report: &mut ReadReport,
) {
    for end in ends {
        report.count_observation(&end.observation, best.is_best(end));
    }
}

impl Pipeline<'_> {
    /// Joins the pending events with everything around them, to accesses in the order of
    /// [`Access::ledger_order`]. With `finally`, a missing KMS Decrypt is absent or unknown;
    /// without, it is pending.
    pub(super) async fn finalize<S: StateStore>(
        &self,
        store: &S,
        due: &[Arc<PendingEvent>],
        finally: bool,
        report: &mut ReadReport,
    ) -> Result<Vec<Arc<Access>>, StateError> {
        let rows = match finally {
            true => self.final_rows(store, due, report).await?,
            false => self.rows(store, due, false, report).await?,
        };
        Ok(in_ledger_order(rows))
    }

    /// The rows of pending events that are due, with absence decided.
    pub(super) async fn final_rows<S: StateStore>(
        &self,
        store: &S,
        due: &[Arc<PendingEvent>],
        report: &mut ReadReport,
    ) -> Result<Vec<AccessRow>, StateError> {
        let mut rows = self.rows(store, due, true, report).await?;
        self.decide_absence(store, &mut rows).await?;
        Ok(rows)
    }

    async fn rows<S: StateStore>(
        &self,
        store: &S,
        due: &[Arc<PendingEvent>],
        finally: bool,
        report: &mut ReadReport,
    ) -> Result<Vec<AccessRow>, StateError> {
        let due_ids = DueIds {
            ids: due.iter().map(|end| &end.id).collect(),
            finally,
        };
        let mut joined = Vec::new();
        // Some at a time, and each in pieces: one actor may have read a secret all day long.
        for spans in spans_of(due).chunks(SPANS) {
            let mut open: Vec<SpanJoin> = spans.iter().cloned().map(SpanJoin::new).collect();
            while !open.is_empty() {
                open = self
                    .join_next(store, open, &due_ids, &mut joined, report)
                    .await?;
            }
        }
        Ok(all_rows(joined, report))
    }

    /// Reads the next part of each span and joins it. Returns the spans with more to do.
    async fn join_next<S: StateStore>(
        &self,
        store: &S,
        open: Vec<SpanJoin>,
        due_ids: &DueIds<'_>,
        joined: &mut Vec<JoinedEvents>,
        report: &mut ReadReport,
    ) -> Result<Vec<SpanJoin>, StateError> {
        let ranges: Vec<CorrelationRange> = open.iter().map(SpanJoin::range).collect();
        // Finalised events are joined again: they may hold a KMS Decrypt that would otherwise be
        // assigned twice.
        let around = store.pending_events_in(&ranges).await?;
        let best = best_copies(store, &around).await?;
        let parts: Vec<_> = open.into_iter().zip(around).collect();
        let steps = parallel::map(self.threads, &parts, |(span, ends)| {
            self.join_part(span, ends, &best, due_ids)
        });
        let mut rest = Vec::new();
        for (next, events, counts) in steps {
            report.add(&counts);
            joined.push(events);
            rest.extend(next);
        }
        Ok(rest)
    }

    /// Joins one part of a span: what is reported of it, and what is left.
    fn join_part(
        &self,
        span: &SpanJoin,
        ends: &[Arc<PendingEvent>],
        best: &BestCopies,
        due_ids: &DueIds<'_>,
    ) -> (Option<SpanJoin>, JoinedEvents, ReadReport) {
        let mut counts = ReadReport::default();
        let Some(from) = span.begin(ends, best) else {
            return (Some(span.further_back()), JoinedEvents::default(), counts);
        };
        let part = span.piece_from(from);
        let times = span.reported(&part);
        let due = ends.iter().filter(|end| due_ids.ids.contains(&end.id));
        count(
            due.filter(|end| times.contains(&end.time)),
            best,
            &mut counts,
        );
        let next = part.end;
        let (result, crossing) = self.correlate(ends, best, &span.crossing, part);
        let explained = result
            .explained
            .iter()
            .filter(|head| times.contains(&head.time) && due_ids.have_kms_decrypt(head))
            .count() as u64;
        let mut rows = result.rows;
        rows.retain(|row| times.contains(&row.access.head.time) && due_ids.tell(row));
        let next = span.after(next, crossing);
        (next, self.joined(rows, explained), counts)
    }

    /// Joins pending events of one correlation group, using only the best copies: the rows of some
    /// times. The others take part because the result depends on them.
    pub(super) fn correlate(
        &self,
        ends: &[Arc<PendingEvent>],
        best: &BestCopies,
        crossing: &CrossingPairs,
        times: Range<EventTime>,
    ) -> (CorrelationResult, CrossingPairs) {
        let best = ends.iter().filter(|end| best.is_best(end));
        let group = correlation_group(best.map(|end| &**end));
        correlate::correlate_within(group, crossing, times)
    }

    /// Rows to report now, with their counts.
    pub(super) fn joined(&self, rows: Vec<AccessRow>, explained: u64) -> JoinedEvents {
        JoinedEvents {
            late: self.late(&rows),
            rows,
            explained,
        }
    }

    /// Number of selected rows with a half that came after the allowed lateness.
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

    /// Decides missing KMS Decrypts: absent, if the read always decrypts and KMS coverage proves
    /// that the Decrypt would have been seen; else unknown. For a denied read, none was expected.
    pub(super) async fn decide_absence<S: StateStore>(
        &self,
        store: &S,
        rows: &mut [AccessRow],
    ) -> Result<(), StateError> {
        let open = rows
            .iter_mut()
            .filter(|row| row.access.decrypt.status == DecryptStatus::Pending);
        let (open, denied): (Vec<&mut AccessRow>, Vec<_>) =
            open.partition(|row| row.access.head.outcome == CallOutcome::Success);
        for row in denied {
            Arc::make_mut(&mut row.access).decrypt =
                AccessDecrypt::only(DecryptStatus::NotExpected);
        }
        let marks: Vec<CoverageMark> = open
            .iter()
            .flat_map(|row| mark_of(&row.access.head).around())
            .collect();
        let covered = store.covered(&marks).await?;
        // Three marks for each row: its hour and the adjacent ones, since events near a read at the
        // end of an hour may be in the next.
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

/// The mark of the hour of an event.
pub(super) fn mark_of(head: &EventHeader) -> CoverageMark {
    CoverageMark::at(head.account.clone(), head.region.clone(), head.time)
}

/// Those of some hours near which KMS events were logged: in them, in so many hours before, or in
/// the next.
pub(super) async fn logged_near<S: StateStore>(
    store: &S,
    hours: BTreeSet<CoverageMark>,
    hours_before: i64,
) -> Result<BTreeSet<CoverageMark>, StateError> {
    let near: Vec<Vec<CoverageMark>> = hours
        .iter()
        .map(|hour| hour.since(hours_before).collect())
        .collect();
    let covered = store.covered(&near.concat()).await?;
    let mut covered = covered.as_slice();
    let logged = hours.into_iter().zip(near).filter_map(|(hour, near)| {
        let (own, rest) = covered.split_at(near.len().min(covered.len()));
        covered = rest;
        own.contains(&true).then_some(hour)
    });
    Ok(logged.collect())
}

/// Sorts by time first, which nearly always decides and needs no pointer to be followed; then by
/// [`Access::ledger_order`].
pub(super) fn in_ledger_order(rows: Vec<AccessRow>) -> Vec<Arc<Access>> {
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

/// The ids of the due pending events.
struct DueIds<'d> {
    ids: HashSet<&'d PendingEventId>,
    finally: bool,
}

impl DueIds<'_> {
    /// Whether a row is reported now.
    fn tell(&self, row: &AccessRow) -> bool {
        let halves = [
            row.read.as_deref().map(PendingEventId::read),
            row.kms_decrypt.as_deref().map(PendingEventId::kms_decrypt),
        ];
        let mut halves = halves.into_iter().flatten();
        // A row with a half that was finalised before has been reported. It is reported again only
        // when another half completes it.
        if self.finally {
            halves.any(|id| self.ids.contains(&id))
        } else {
            halves.all(|id| self.ids.contains(&id))
        }
    }

    fn have_kms_decrypt(&self, head: &EventHeader) -> bool {
        self.ids.contains(&PendingEventId::kms_decrypt(head))
    }
}

/// The best copy of each event around, including copies in other correlation groups.
async fn best_copies<S: StateStore>(
    store: &S,
    around: &[Vec<Arc<PendingEvent>>],
) -> Result<BestCopies, StateError> {
    // The account that owns a secret logs another caller than the caller's own account does, so
    // that the copies of an event are in different correlation groups.
    let shared: Vec<SharedStr> = around
        .iter()
        .flatten()
        .filter_map(|end| end.observation.head().shared_id.clone())
        .collect();
    let twins = store.pending_events_sharing(&shared).await?;
    let mut best = BestCopies::default();
    for ends in around {
        best.add_unmarked(ends);
    }
    twins.iter().for_each(|end| best.add(end));
    Ok(best)
}

pub(super) fn correlation_group<'e>(
    ends: impl Iterator<Item = &'e PendingEvent>,
) -> CorrelationGroup {
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
    use crate::{
        events_for_tests::{decrypt_secret, get_secret, pending_decrypt, pending_read},
        observation::SecretRead,
        rule::RuleSet,
        selection::Selection,
        state::memory::MemoryStore,
    };

    fn delivered(read: SecretRead, secs: i64) -> SecretRead {
        let mut head = (*read.head).clone();
        head.delivered = EventTime(secs);
        SecretRead {
            head: Arc::new(head),
            ..read
        }
    }

    /// The halves of each row that is reported when these pending events, of all, are due; the
    /// number of late rows; and the number of events.
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
    fn a_row_that_was_reported_is_reported_again_only_to_be_completed() {
        let all = [
            pending_read(get_secret("r", 0, "x")),
            pending_decrypt(decrypt_secret("k", 0, "x")),
        ];
        let [read, kms_decrypt] = all.clone();
        assert_eq!(finalized(&all, &all, true).0, ["r k"]);
        assert_eq!(
            finalized(&all, &[kms_decrypt], true).0,
            ["r k"],
            "its read was reported alone"
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
        // The earlier read was finalised with it, and only the later one is due now.
        let all = [
            pending_read(get_secret("r1", 0, "x")),
            pending_decrypt(decrypt_secret("k", 0, "x")),
            pending_read(get_secret("r2", 3, "x")),
        ];
        assert_eq!(finalized(&all, &all[2..], true).0, ["r2 -"]);
    }

    #[test]
    fn a_half_that_came_after_the_allowed_lateness_is_late() {
        let allowed_lateness = crate::limits::ALLOWED_LATENESS_SECS;
        for (secs, late) in [(allowed_lateness, 0), (allowed_lateness + 1, 1)] {
            let read = delivered(get_secret("r", 0, "x"), secs);
            let all = [
                pending_read(read),
                pending_decrypt(decrypt_secret("k", 0, "x")),
            ];
            assert_eq!(finalized(&all, &all, true).1.late, late);
        }
    }

    #[test]
    fn the_worse_copy_is_counted_but_not_reported() {
        let mut twin = get_secret("r2", 0, "x");
        let mut read = get_secret("r1", 0, "x");
        for read in [&mut twin, &mut read] {
            Arc::make_mut(&mut read.head).shared_id = Some("s".into());
        }
        let head = Arc::make_mut(&mut twin.head);
        // The owner's record does not name the session: it is in another correlation group.
        Arc::make_mut(&mut head.principal).actor = None;
        let all = [pending_read(read), pending_read(twin)];
        let (reported, report) = finalized(&all, &all, true);
        assert_eq!(
            (reported, report.reads, report.duplicates),
            (vec!["r1 -".to_owned()], 1, 1)
        );
        let (reported, _) = finalized(&all, &all[1..], true);
        assert_eq!(
            reported, [""; 0],
            "its better copy is found in the other group"
        );
    }
}
