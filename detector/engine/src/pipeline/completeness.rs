//! Absence verdicts that wait for a digest: whether a half is missing from the log, or only its
//! file was never read.
//!
//! Where digests are compared with the files that were processed, an event whose other half is
//! missing is held when its allowed lateness has passed. A read is judged meanwhile by everything
//! else, as one whose KMS Decrypt is pending; a KMS Decrypt without a read is no access yet. Both
//! are judged when the digests of their time are compared: by then a file whose notification was
//! lost has been fetched. What no digest decides within hours is judged without.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ahash::HashMap;

use super::{
    BatchOutcome, Pipeline,
    finalize::{in_ledger_order, logged_near, mark_of},
    pending_alerts::PendingAlerts,
};
use crate::{
    access::{AccessMethod, DecryptStatus},
    completeness::{ComparedDigest, DigestRange},
    correlate::AccessRow,
    coverage::CoverageMark,
    ids::SharedStr,
    limits::{DAY_SECS, DIGEST_WAIT_SECS},
    observation::EventHeader,
    pending_event::{PendingEvent, PendingEventId},
    report::ReadReport,
    state::{StateError, StateStore, completeness::DueHeldEvents},
    time::EventTime,
};

/// Held events that are looked at together.
const AT_A_TIME: usize = 1_000;

/// An account and a region.
type Place = (SharedStr, SharedStr);

/// Hours before a read without coverage in which KMS events show that the trail logs them; also
/// the hour of the read, and the next.
const HOURS_BEFORE: i64 = 6;

impl Pipeline<'_> {
    /// Holds the events of rows whose other half is missing and that a digest may still bring:
    /// removes the rows of KMS Decrypts, and calls the KMS Decrypt of reads pending.
    pub(super) async fn hold_absences<S: StateStore>(
        &self,
        store: &S,
        rows: &mut Vec<AccessRow>,
        due: &[Arc<PendingEvent>],
        now: EventTime,
    ) -> Result<(), StateError> {
        if !self.waits_for_digests {
            return Ok(());
        }
        let open = self.undecided(store, rows, now).await?;
        let by_id: HashMap<&PendingEventId, &Arc<PendingEvent>> =
            due.iter().map(|end| (&end.id, end)).collect();
        let mut held = Vec::new();
        let mut undecided = open.into_iter();
        rows.retain_mut(|row| {
            let is_open = undecided.next().unwrap_or(false);
            let end = is_open.then(|| absent_half(row)).flatten();
            let Some(end) = end.and_then(|(id, _)| by_id.get(&id)) else {
                return true;
            };
            held.push((*end).clone());
            Arc::make_mut(&mut row.access).decrypt.status = DecryptStatus::Pending;
            row.read.is_some()
        });
        if held.is_empty() {
            return Ok(());
        }
        // Several secrets of one read may lack their KMS Decrypts.
        held.sort_by(|a, b| a.id.parts().cmp(&b.id.parts()));
        held.dedup();
        let look_at = now.plus(self.allowed_lateness_secs.max(1));
        store.hold_events(held, look_at).await
    }

    /// For each row, whether its other half is missing and no digest has decided that yet.
    async fn undecided<S: StateStore>(
        &self,
        store: &S,
        rows: &[AccessRow],
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let halves = rows.iter().map(|row| {
            let (_, head) = absent_half(row)?;
            let waited = now.0.saturating_sub(head.delivered.0);
            (0..DIGEST_WAIT_SECS).contains(&waited).then_some(head)
        });
        let halves: Vec<Option<&EventHeader>> = halves.collect();
        let compared = compared(store, &halves).await?;
        let open = halves.iter().map(|half| {
            let head = (*half)?;
            let digests = compared.get(&place_of(head))?;
            (!digests.is_empty() && !self.decides(digests, head)).then_some(head)
        });
        let open: Vec<Option<&EventHeader>> = open.collect();
        let logged = with_kms_events(store, rows, &open).await?;
        let undecided = rows.iter().zip(open).map(|(row, open)| {
            let is_unknown = row.access.decrypt.status == DecryptStatus::Unknown;
            open.is_some_and(|head| !is_unknown || logged.contains(&mark_of(head)))
        });
        Ok(undecided.collect())
    }

    /// Whether the files are accounted for that may hold the other half of an event: those that
    /// were delivered when it happened, with it, and within the allowed lateness after it.
    fn decides(&self, digests: &[ComparedDigest], head: &EventHeader) -> bool {
        let last = head.delivered.plus(self.allowed_lateness_secs);
        let mut times = [head.time, head.delivered, last].into_iter();
        times.all(|time| {
            let mut hours = digests.iter().map(|digest| digest.hour);
            hours.any(|hour| (hour.start..hour.end).contains(&time))
        })
    }

    /// Judges the held events that a digest has decided, or that have waited long enough.
    pub(super) async fn judge_held<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        if !self.waits_for_digests {
            return Ok(());
        }
        loop {
            let DueHeldEvents { ends, receipt } = store.due_held_events(now, AT_A_TIME).await?;
            if receipt.is_empty() {
                return Ok(());
            }
            // They were counted when they were held.
            let mut counted = ReadReport::default();
            let mut rows = self.final_rows(store, &ends, &mut counted).await?;
            // What has found its other half is reported with that.
            rows.retain(|row| absent_half(row).is_some());
            self.hold_absences(store, &mut rows, &ends, now).await?;
            rows.retain(|row| row.access.decrypt.status != DecryptStatus::Pending);
            let mut pending_alerts = PendingAlerts::default();
            let mut judged = BatchOutcome::default();
            let accesses = in_ledger_order(rows);
            self.judge_finalized(store, accesses, &mut pending_alerts, &mut judged)
                .await?;
            self.create(store, pending_alerts, now, &mut judged).await?;
            outcome.append(judged);
            // Only now: after a crash before this line, the same events are judged again.
            store.close_held_events(receipt).await?;
        }
    }
}

fn place_of(head: &EventHeader) -> Place {
    (head.account.clone(), head.region.clone())
}

/// The digests that were compared since a day before the first event of each place. A place of
/// which none came since then has none to wait for.
async fn compared<S: StateStore>(
    store: &S,
    halves: &[Option<&EventHeader>],
) -> Result<HashMap<Place, Vec<ComparedDigest>>, StateError> {
    let mut since: BTreeMap<Place, EventTime> = BTreeMap::new();
    for head in halves.iter().flatten() {
        let first = since.entry(place_of(head)).or_insert(head.time);
        *first = (*first).min(head.time);
    }
    let ranges = since
        .into_iter()
        .map(|((account, region), first)| DigestRange {
            account,
            region,
            from: first.plus(-DAY_SECS),
            to: EventTime(i64::MAX),
        });
    let ranges: Vec<DigestRange> = ranges.collect();
    let compared = store.compared(&ranges).await?;
    let places = ranges
        .into_iter()
        .map(|range| (range.account, range.region));
    Ok(places.zip(compared).collect())
}

/// Those hours of reads without coverage near which KMS events were logged: there, the file that is
/// missing may bring the coverage, too. A trail without KMS events has no reads to hold.
async fn with_kms_events<S: StateStore>(
    store: &S,
    rows: &[AccessRow],
    open: &[Option<&EventHeader>],
) -> Result<BTreeSet<CoverageMark>, StateError> {
    let unknown = rows.iter().zip(open).filter_map(|(row, open)| {
        let is_unknown = row.access.decrypt.status == DecryptStatus::Unknown;
        open.filter(|_| is_unknown).map(mark_of)
    });
    logged_near(store, unknown.collect(), HOURS_BEFORE).await
}

/// The half whose other half is missing, with its identity as a pending event; `None` for rows that
/// rest on no absence.
fn absent_half(row: &AccessRow) -> Option<(PendingEventId, &EventHeader)> {
    match (&row.read, &row.kms_decrypt) {
        (Some(read), None) if row.absence_proves && is_decided(row) => {
            Some((PendingEventId::read(read), read))
        }
        (None, Some(kms_decrypt)) if row.access.method == AccessMethod::DecryptOnly => {
            Some((PendingEventId::kms_decrypt(kms_decrypt), kms_decrypt))
        }
        _ => None,
    }
}

fn is_decided(row: &AccessRow) -> bool {
    use DecryptStatus::{Absent, Unknown};
    [Absent, Unknown].contains(&row.access.decrypt.status)
}
