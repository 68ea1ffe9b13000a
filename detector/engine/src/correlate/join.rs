//! What a join has decided so far: which KMS Decrypt belongs to which read, and which read a batch
//! has caused.

use std::sync::Arc;

use crate::{
    correlate::{
        correlation_group::{CorrelationGroup, get_secret_value, named},
        near::SecretTimes,
    },
    observation::{KmsDecrypt, ReadRequest, SecretRead},
    time::EventTime,
};

/// What a KMS Decrypt is assigned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PairAssignment {
    pub(super) read: usize,
    /// Index of the secret among those that the read names; 0 when it names none.
    pub(super) target: usize,
}

/// The batch that has caused a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchClaim {
    pub(super) batch: usize,
    /// Index of the secret among those that the batch names; `None` when it names none.
    pub(super) target: Option<usize>,
}

/// The decisions so far. Reads and KMS Decrypts are indices in the group.
pub(super) struct JoinState<'s> {
    pub(super) group: &'s CorrelationGroup,
    /// Events before this time are joined already, and only say what is around the others.
    from: EventTime,
    /// For each read, where its secrets begin in the next two lists.
    targets_from: Vec<usize>,
    /// For each secret that a read names: its KMS Decrypt.
    taken: Vec<Option<usize>>,
    /// For each secret that a batch names: whether it has a read of its own.
    claimed: Vec<bool>,
    /// For each read that does not name the returned secrets: the KMS Decrypts that do.
    many: Vec<Vec<usize>>,
    /// For each KMS Decrypt, its read.
    assignment: Vec<Option<PairAssignment>>,
    /// For each read, the batch that caused it.
    batch: Vec<Option<BatchClaim>>,
    has_children: Vec<bool>,
    /// For each read, whether it is the same as another one.
    pass_through: Vec<bool>,
}

impl<'s> JoinState<'s> {
    /// Nothing is decided yet about events from this time on. The group is sorted.
    pub(super) fn new(group: &'s CorrelationGroup, from: EventTime) -> Self {
        let reads = &group.reads;
        let mut targets_from = Vec::with_capacity(reads.len());
        let mut targets = 0;
        for read in reads {
            targets_from.push(targets);
            targets += named(read).len();
        }
        Self {
            group,
            from,
            targets_from,
            taken: vec![None; targets],
            claimed: vec![false; targets],
            many: vec![Vec::new(); reads.len()],
            assignment: vec![None; group.kms_decrypts.len()],
            batch: vec![None; reads.len()],
            has_children: vec![false; reads.len()],
            pass_through: pass_through(group),
        }
    }

    /// The reads to join, with their index in the group.
    pub(super) fn reads(&self) -> impl Iterator<Item = (usize, &'s Arc<SecretRead>)> + use<'s> {
        let from = self.from;
        let first = self.group.reads.partition_point(|r| r.head.time < from);
        self.group.reads.iter().enumerate().skip(first)
    }

    /// The KMS Decrypts to join, with their index in the group.
    pub(super) fn kms_decrypts(
        &self,
    ) -> impl DoubleEndedIterator<Item = (usize, &'s Arc<KmsDecrypt>)> + use<'s> {
        let from = self.from;
        let all = &self.group.kms_decrypts;
        let first = all.partition_point(|k| k.head.time < from);
        all.iter().enumerate().skip(first)
    }

    fn target_index(&self, assignment: PairAssignment) -> Option<usize> {
        let first = self.targets_from.get(assignment.read)?;
        Some(first + assignment.target)
    }

    /// Assigns a KMS Decrypt.
    pub(super) fn give(&mut self, kms_decrypt: usize, assignment: PairAssignment) {
        if let Some(slot) = self.assignment.get_mut(kms_decrypt) {
            *slot = Some(assignment);
        }
        let read = self.group.reads.get(assignment.read);
        // What names no secret takes any number.
        if read.is_some_and(|read| named(read).is_empty()) {
            if let Some(many) = self.many.get_mut(assignment.read) {
                many.push(kms_decrypt);
            }
            return;
        }
        let target = self.target_index(assignment);
        if let Some(taken) = target.and_then(|target| self.taken.get_mut(target)) {
            *taken = Some(kms_decrypt);
        }
    }

    /// Notes that a batch has caused a read.
    pub(super) fn claim(&mut self, child: usize, claim: BatchClaim) {
        if let Some(batch) = self.batch.get_mut(child) {
            *batch = Some(claim);
        }
        if let Some(has_children) = self.has_children.get_mut(claim.batch) {
            *has_children = true;
        }
        let target = claim.target.and_then(|target| {
            self.target_index(PairAssignment {
                read: claim.batch,
                target,
            })
        });
        if let Some(claimed) = target.and_then(|target| self.claimed.get_mut(target)) {
            *claimed = true;
        }
    }

    /// The read that a KMS Decrypt is assigned to.
    pub(super) fn assignment_of(&self, kms_decrypt: usize) -> Option<PairAssignment> {
        self.assignment.get(kms_decrypt).copied().flatten()
    }

    /// Whether a KMS Decrypt is assigned to nothing.
    pub(super) fn is_free(&self, kms_decrypt: usize) -> bool {
        self.assignment_of(kms_decrypt).is_none()
    }

    /// The KMS Decrypt that is assigned to a secret that a read names.
    pub(super) fn use_taken_by(&self, assignment: PairAssignment) -> Option<usize> {
        let target = self.target_index(assignment)?;
        self.taken.get(target).copied().flatten()
    }

    /// Whether a KMS Decrypt is assigned to any secret that a read names.
    pub(super) fn has_taken_any(&self, read: usize) -> bool {
        let targets = self.group.reads.get(read).map_or(0, |r| named(r).len());
        (0..targets).any(|target| self.use_taken_by(PairAssignment { read, target }).is_some())
    }

    /// The KMS Decrypts that show what a read of a path, a history or filters returned.
    pub(super) fn uses_given_to(&self, read: usize) -> &[usize] {
        self.many.get(read).map(Vec::as_slice).unwrap_or_default()
    }

    /// The batch that caused a read.
    pub(super) fn batch_of(&self, read: usize) -> Option<BatchClaim> {
        self.batch.get(read).copied().flatten()
    }

    /// Whether a batch caused any read.
    pub(super) fn has_children(&self, batch: usize) -> bool {
        self.has_children.get(batch) == Some(&true)
    }

    /// Whether a secret that a batch names has a read of its own.
    pub(super) fn is_claimed(&self, assignment: PairAssignment) -> bool {
        let target = self.target_index(assignment);
        target.and_then(|target| self.claimed.get(target)) == Some(&true)
    }

    /// Whether this is a `GetSecretValue` that Parameter Store made for a `GetParameter` of the
    /// same secret: one read, logged twice.
    pub(super) fn is_pass_through(&self, read: usize) -> bool {
        self.pass_through.get(read) == Some(&true)
    }
}

/// For each read, whether Parameter Store made it for another one.
fn pass_through(group: &CorrelationGroup) -> Vec<bool> {
    let mut pass_through = vec![false; group.reads.len()];
    if !group.reads.iter().any(|read| is_passed_on(read)) {
        return pass_through;
    }
    let mut parameters = SecretTimes::default();
    for read in &group.reads {
        if let ReadRequest::Named(secrets) = &read.request
            && read.head.api.starts_with("GetParameter")
        {
            secrets
                .iter()
                .for_each(|secret| parameters.add(secret, read.head.time));
        }
    }
    for (read, is_one) in group.reads.iter().zip(&mut pass_through) {
        let secret = get_secret_value(read).filter(|_| is_passed_on(read));
        *is_one = secret.is_some_and(|secret| parameters.has_near(secret, read.head.time));
    }
    pass_through
}

/// Whether a service made the call for its caller.
fn is_passed_on(read: &SecretRead) -> bool {
    // Parameter Store calls on behalf of its caller, so that the record has an `invokedBy`.
    read.head.principal.via.is_some()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        access::DecryptStatus,
        correlate::{AccessRow, CorrelationResult, correlate},
        events_for_tests::{HOME, decrypt_parameter, decrypt_secret, get_secret, put_secret, read},
        ids::SecretRef,
        observation::{EventHeader, KmsDecrypt, SecretChange},
    };

    fn correlation_group(
        reads: &[SecretRead],
        kms_decrypts: &[KmsDecrypt],
        changes: &[SecretChange],
    ) -> CorrelationGroup {
        CorrelationGroup {
            reads: reads.iter().cloned().map(Arc::new).collect(),
            kms_decrypts: kms_decrypts.iter().cloned().map(Arc::new).collect(),
            changes: changes.iter().cloned().map(Arc::new).collect(),
        }
    }

    /// One word for each access, and one for each explained KMS Decrypt: `read+decrypt`,
    /// `+decrypt`, `read-`, `(decrypt)`.
    fn reported(paired: &CorrelationResult) -> Vec<String> {
        let id = |head: &Option<Arc<EventHeader>>| head.as_ref().map(|h| h.event_id.to_string());
        let row = |row: &AccessRow| match (id(&row.read), id(&row.kms_decrypt)) {
            (Some(read), None) => format!("{read}-"),
            (read, kms_decrypt) => {
                format!(
                    "{}+{}",
                    read.unwrap_or_default(),
                    kms_decrypt.unwrap_or_default()
                )
            }
        };
        let explained = paired.explained.iter().map(|h| format!("({})", h.event_id));
        let mut reported: Vec<String> = paired.rows.iter().map(row).chain(explained).collect();
        reported.sort();
        reported
    }

    /// Checks the result for a group, with its events in several orders.
    pub(in crate::correlate) fn check(
        reads: &[SecretRead],
        kms_decrypts: &[KmsDecrypt],
        expected: &[&str],
    ) {
        for reads in turned(reads) {
            for kms_decrypts in turned(kms_decrypts) {
                assert_eq!(
                    reported(&correlate(correlation_group(&reads, &kms_decrypts, &[]))),
                    expected
                );
            }
        }
    }

    /// The same events, rotated to begin with each of them, forwards and backwards.
    fn turned<T: Clone>(events: &[T]) -> Vec<Vec<T>> {
        let mut orders = vec![events.to_vec()];
        for start in 0..events.len() {
            let mut order = events.to_vec();
            order.rotate_left(start);
            orders.push(order.clone());
            order.reverse();
            orders.push(order);
        }
        orders
    }

    fn batch(id: &str, secs: i64, names: &[&str]) -> SecretRead {
        let secrets = names.iter().map(|name| SecretRef::secret(name, HOME));
        read(
            id,
            "BatchGetSecretValue",
            secs,
            ReadRequest::Batch(secrets.collect()),
        )
    }

    fn by_path(id: &str, secs: i64, path: &str) -> SecretRead {
        let request = ReadRequest::Path {
            path: SecretRef::parameter(path, HOME),
            recursive: true,
        };
        read(id, "GetParametersByPath", secs, request)
    }

    fn get_parameter(id: &str, secs: i64, name: &str) -> SecretRead {
        let request = ReadRequest::Named(vec![SecretRef::parameter(name, HOME)]);
        read(id, "GetParameter", secs, request)
    }

    #[test]
    fn the_tolerance_is_the_last_second_that_pairs() {
        for secs in [95, 105] {
            let read = get_secret("r", 100, "x");
            check(&[read], &[decrypt_secret("k", secs, "x")], &["r+k"]);
        }
        for secs in [94, 106] {
            let read = get_secret("r", 100, "x");
            check(&[read], &[decrypt_secret("k", secs, "x")], &["+k", "r-"]);
        }
    }

    #[test]
    fn a_nearer_pair_is_made_although_a_farther_one_came_first() {
        // First fit would assign k2 to r1, and leave r2 with nothing.
        let reads = [get_secret("r1", 0, "x"), get_secret("r2", 3, "x")];
        check(&reads, &[decrypt_secret("k2", 3, "x")], &["r1-", "r2+k2"]);
    }

    #[test]
    fn of_equally_near_pairs_the_earlier_is_made_and_then_the_ids_decide() {
        let around = [get_secret("r1", 0, "x"), get_secret("r2", 4, "x")];
        check(&around, &[decrypt_secret("k", 2, "x")], &["r1+k", "r2-"]);
        let same_second = [get_secret("r1", 0, "x"), get_secret("r2", 0, "x")];
        check(
            &same_second,
            &[decrypt_secret("k", 0, "x")],
            &["r1+k", "r2-"],
        );
        let uses = [decrypt_secret("k1", 0, "x"), decrypt_secret("k2", 0, "x")];
        check(&same_second, &uses, &["r1+k1", "r2+k2"]);
    }

    #[test]
    fn only_the_version_that_a_read_names_is_its_own() {
        let mut read = get_secret("r", 0, "x");
        if let ReadRequest::Named(secrets) = &mut read.request {
            secrets[0].version_id = Some("v2".into());
        }
        let version = |id: &str, secs, version: &str| KmsDecrypt {
            version_id: Some(version.into()),
            ..decrypt_secret(id, secs, "x")
        };
        let uses = [version("k1", 0, "v1"), version("k2", 1, "v2")];
        check(&[read], &uses, &["+k1", "r+k2"]);
        check(&[get_secret("r", 0, "x")], &uses, &["+k2", "r+k1"]);
    }

    #[test]
    fn a_path_takes_all_that_is_under_it_except_what_a_read_names() {
        let reads = [by_path("p", 0, "/app"), get_parameter("g", 0, "/app/a")];
        let uses = [
            decrypt_parameter("k1", 0, "/app/a"),
            decrypt_parameter("k2", 0, "/app/b/c"),
            decrypt_parameter("k3", 0, "/apple"),
        ];
        check(&reads, &uses, &["+k3", "g+k1", "p+k2"]);
        // The read that names it is farther away.
        let reads = [by_path("p", 0, "/app"), get_parameter("g", 1, "/app/a")];
        check(&reads, &uses[..1], &["g-", "p+k1"]);
    }

    #[test]
    fn paths_near_each_other_share_what_is_under_both() {
        let reads = [by_path("p1", 0, "/app"), by_path("p2", 4, "/app")];
        let uses = [
            decrypt_parameter("k1", 0, "/app/a"),
            decrypt_parameter("k2", 2, "/app/b"),
            decrypt_parameter("k3", 3, "/app/c"),
        ];
        check(&reads, &uses, &["p1+k1", "p1+k2", "p2+k3"]);
    }

    #[test]
    fn a_batch_and_its_children_count_each_secret_once() {
        let uses = [decrypt_secret("k1", 0, "x"), decrypt_secret("k2", 0, "y")];
        let reads = [batch("b", 0, &["x", "y"]), get_secret("c", 1, "x")];
        check(&reads, &uses, &["b+k2", "c+k1"]);
        let paired = correlate(correlation_group(&reads, &uses, &[]));
        assert!(paired.rows.iter().all(|row| !row.absence_proves));
        // Two reads of one secret: the nearer is the child, and the other is an independent read.
        let reads = [
            batch("b", 0, &["x"]),
            get_secret("c", 0, "x"),
            get_secret("r", 1, "x"),
        ];
        let rows = correlate(correlation_group(&reads, &[], &[])).rows;
        let proves: Vec<_> = rows
            .iter()
            .map(|row| (&*row.access.head.event_id, row.absence_proves))
            .collect();
        assert_eq!(proves, [("c", false), ("r", true)]);
    }

    #[test]
    fn a_child_belongs_to_the_nearer_of_two_batches() {
        let reads = [
            batch("b1", 0, &["x"]),
            batch("b2", 3, &["x"]),
            get_secret("c", 2, "x"),
        ];
        check(&reads, &[], &["b1-", "c-"]);
    }

    #[test]
    fn a_batch_by_filters_keeps_the_kms_decrypts_that_no_child_took() {
        let reads = [
            read("b", "BatchGetSecretValue", 0, ReadRequest::BatchFilters),
            get_secret("c", 0, "x"),
        ];
        check(&reads, &[], &["c-"]);
        let uses = [
            decrypt_secret("k1", 0, "x"),
            decrypt_secret("k2", 1, "y"),
            decrypt_parameter("k3", 0, "/y"),
        ];
        check(&reads, &uses, &["+k3", "b+k2", "c+k1"]);
        check(&reads[..1], &[], &["b-"]);
    }

    #[test]
    fn a_read_that_parameter_store_passes_on_is_reported_once() {
        let reference = "/aws/reference/secretsmanager/x";
        let mut passed_on = get_secret("c", 0, "x");
        let mut head = (*passed_on.head).clone();
        Arc::make_mut(&mut head.principal).via = Some("ssm.amazonaws.com".into());
        passed_on.head = Arc::new(head);
        let uses = [decrypt_secret("k", 0, "x")];
        let reads = [get_parameter("r", 0, reference), passed_on.clone()];
        check(&reads, &uses, &["r+k"]);
        check(&[passed_on], &uses, &["c+k"]);
    }

    #[test]
    fn a_change_explains_kms_decrypts_up_to_the_tolerance_but_no_direct_one() {
        let direct = KmsDecrypt {
            direct: true,
            ..decrypt_secret("k3", 0, "x")
        };
        let uses = [
            decrypt_secret("k1", -5, "x"),
            decrypt_secret("k2", 6, "x"),
            direct,
            decrypt_secret("k4", 0, "y"),
        ];
        let paired = correlate(correlation_group(&[], &uses, &[put_secret("p", 0, "x")]));
        assert_eq!(reported(&paired), ["(k1)", "+k2", "+k3", "+k4"]);
        let ignored = SecretChange {
            decrypts: false,
            ..put_secret("p", 0, "x")
        };
        let paired = correlate(correlation_group(&[], &uses[..1], &[ignored]));
        assert_eq!(reported(&paired), ["+k1"]);
    }

    #[test]
    fn a_read_beside_a_change_keeps_its_kms_decrypt() {
        let (reads, uses) = ([get_secret("r", 1, "x")], [decrypt_secret("k", 0, "x")]);
        let paired = correlate(correlation_group(&reads, &uses, &[put_secret("p", 0, "x")]));
        assert_eq!(reported(&paired), ["r+k"]);
    }

    #[test]
    fn what_expects_no_kms_decrypt_takes_none() {
        let mut read = get_secret("r", 0, "x");
        read.decrypts = false;
        let paired = correlate(correlation_group(
            &[read],
            &[decrypt_secret("k", 0, "x")],
            &[],
        ));
        assert_eq!(reported(&paired), ["+k", "r-"]);
        let statuses = paired.rows.iter().map(|row| row.access.decrypt.status);
        assert_eq!(
            statuses.collect::<Vec<_>>(),
            [DecryptStatus::NotExpected; 2]
        );
    }
}
