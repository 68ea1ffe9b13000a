//! Reads and key uses of one actor in one region to accesses. The result is a function of the set
//! that is given, never of its order: among all candidate pairs the nearest in time wins, then the
//! earlier, then the event ids decide.
//!
//! Refuses to know: clocks, coverage and stores. A read without a key use comes out as
//! [`DecryptStatus::Pending`](crate::access::DecryptStatus::Pending); whether that means absent or
//! unknown is for the caller to say.

mod join;
mod rows;
mod scene;

pub use self::rows::{Paired, Row, alone, row};
pub use self::scene::Scene;

use self::join::Join;

/// Joins the reads, key uses and changes of one actor in one region.
#[must_use]
pub fn correlate(mut scene: Scene) -> Paired {
    scene.sort();
    let mut join = Join::new(&scene);
    // Nearest first, not first come: Terraform and an attacker may read one secret seconds apart,
    // and in real logs a third of all Decrypts arrive before their reads.
    join.match_nearest();
    // The child of a batch has taken its key use as any read does. What is still free after that
    // is the batch's own.
    join.fold_children();
    join.match_batches();
    // A denied key use is not what a read expects: no step above has given it away.
    join.match_denied();
    join.into_rows()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::DecryptStatus;
    use crate::ids::SecretRef;
    use crate::observation::{Ask, Head, KeyUse, Outcome, SecretChange, SecretRead};
    use crate::samples::{HOME, decrypt_parameter, decrypt_secret, get_secret, put_secret, read};

    fn scene(reads: &[SecretRead], key_uses: &[KeyUse], changes: &[SecretChange]) -> Scene {
        Scene {
            reads: reads.iter().cloned().map(Arc::new).collect(),
            key_uses: key_uses.iter().cloned().map(Arc::new).collect(),
            changes: changes.iter().cloned().map(Arc::new).collect(),
        }
    }

    /// One word for each access, and one for each key use that was explained: `read+use`, `+use`,
    /// `read-`, `(use)`.
    fn told(paired: &Paired) -> Vec<String> {
        let id = |head: &Option<Arc<Head>>| head.as_ref().map(|h| h.event_id.to_string());
        let row = |row: &Row| match (id(&row.read), id(&row.key_use)) {
            (Some(read), None) => format!("{read}-"),
            (read, key_use) => {
                format!(
                    "{}+{}",
                    read.unwrap_or_default(),
                    key_use.unwrap_or_default()
                )
            }
        };
        let explained = paired.explained.iter().map(|h| format!("({})", h.event_id));
        let mut told: Vec<String> = paired.rows.iter().map(row).chain(explained).collect();
        told.sort();
        told
    }

    /// Checks what a scene comes to, in whatever order its events are given.
    fn check(reads: &[SecretRead], key_uses: &[KeyUse], expected: &[&str]) {
        for reads in turned(reads) {
            for key_uses in turned(key_uses) {
                assert_eq!(told(&correlate(scene(&reads, &key_uses, &[]))), expected);
            }
        }
    }

    /// The same events beginning with each of them, forwards and backwards.
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
            Ask::Batch(secrets.collect()),
        )
    }

    fn by_path(id: &str, secs: i64, path: &str) -> SecretRead {
        let ask = Ask::Path {
            path: SecretRef::parameter(path, HOME),
            recursive: true,
        };
        read(id, "GetParametersByPath", secs, ask)
    }

    fn get_parameter(id: &str, secs: i64, name: &str) -> SecretRead {
        let ask = Ask::Named(vec![SecretRef::parameter(name, HOME)]);
        read(id, "GetParameter", secs, ask)
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
        // First fit would give k2 to r1, and leave r2 with nothing.
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
        if let Ask::Named(secrets) = &mut read.ask {
            secrets[0].version_id = Some("v2".into());
        }
        let version = |id: &str, secs, version: &str| KeyUse {
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
        let paired = correlate(scene(&reads, &uses, &[]));
        assert!(paired.rows.iter().all(|row| !row.absence_proves));
        // Two reads of one secret: the nearer is the child, and the other is a read of its own.
        let reads = [
            batch("b", 0, &["x"]),
            get_secret("c", 0, "x"),
            get_secret("r", 1, "x"),
        ];
        let rows = correlate(scene(&reads, &[], &[])).rows;
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
    fn a_batch_by_filters_keeps_the_key_uses_that_no_child_took() {
        let reads = [
            read("b", "BatchGetSecretValue", 0, Ask::BatchFilters),
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
    fn a_read_that_parameter_store_passes_on_is_told_once() {
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
    fn denied_halves_join_by_their_second_each_once() {
        let denied_read = |id, secs| {
            let mut read = get_secret(id, secs, "x");
            (read.decrypts, read.denied_by_kms) = (false, true);
            read
        };
        let denied_use = |id, secs, direct| {
            let mut key_use = decrypt_secret(id, secs, "x");
            Arc::make_mut(&mut key_use.head).outcome = Outcome::Denied;
            (key_use.secret, key_use.direct) = (None, direct);
            key_use
        };
        let reads = [
            denied_read("r1", 0),
            denied_read("r2", 0),
            denied_read("r3", 1),
        ];
        let uses = [
            denied_use("k1", 0, false),
            denied_use("k2", 0, false),
            denied_use("k3", 1, true),
            denied_use("k4", 2, false),
        ];
        check(&reads, &uses, &["r1+k1", "r2+k2", "r3-"]);
    }

    #[test]
    fn a_change_explains_key_uses_up_to_the_tolerance_but_no_direct_one() {
        let direct = KeyUse {
            direct: true,
            ..decrypt_secret("k3", 0, "x")
        };
        let uses = [
            decrypt_secret("k1", -5, "x"),
            decrypt_secret("k2", 6, "x"),
            direct,
            decrypt_secret("k4", 0, "y"),
        ];
        let paired = correlate(scene(&[], &uses, &[put_secret("p", 0, "x")]));
        assert_eq!(told(&paired), ["(k1)", "+k2", "+k3", "+k4"]);
        let ignored = SecretChange {
            decrypts: false,
            ..put_secret("p", 0, "x")
        };
        let paired = correlate(scene(&[], &uses[..1], &[ignored]));
        assert_eq!(told(&paired), ["+k1"]);
    }

    #[test]
    fn a_read_beside_a_change_keeps_its_key_use() {
        let (reads, uses) = ([get_secret("r", 1, "x")], [decrypt_secret("k", 0, "x")]);
        let paired = correlate(scene(&reads, &uses, &[put_secret("p", 0, "x")]));
        assert_eq!(told(&paired), ["r+k"]);
    }

    #[test]
    fn what_expects_no_key_use_takes_none() {
        let mut read = get_secret("r", 0, "x");
        read.decrypts = false;
        let paired = correlate(scene(&[read], &[decrypt_secret("k", 0, "x")], &[]));
        assert_eq!(told(&paired), ["+k", "r-"]);
        let statuses = paired.rows.iter().map(|row| row.access.decrypt.status);
        assert_eq!(
            statuses.collect::<Vec<_>>(),
            [DecryptStatus::NotExpected; 2]
        );
    }
}
