//! Objects in batches, one for each extract file, of `extract` and of `backfill`.

use super::object::InputObject;

/// Objects by time of delivery, in batches of at most `most_bytes` stored bytes and `most` objects;
/// a larger object is a batch of its own.
pub(crate) fn by_delivery(
    objects: &[InputObject],
    most_bytes: u64,
    most: usize,
) -> Vec<Vec<&InputObject>> {
    // The size of each file is read once: it costs a system call, and sorting compares often.
    let mut sorted: Vec<(&InputObject, u64)> = objects
        .iter()
        .map(|object| (object, object.size()))
        .collect();
    // By delivery: a file then covers a short time, and a replay opens few at once.
    sorted.sort_by(|(a, _), (b, _)| (a.delivered, &a.name).cmp(&(b.delivered, &b.name)));
    let mut batches: Vec<Vec<&InputObject>> = Vec::new();
    let mut bytes = 0;
    for (object, size) in sorted {
        match batches.last_mut() {
            Some(batch) if bytes + size <= most_bytes && batch.len() < most => batch.push(object),
            _ => {
                batches.push(vec![object]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::super::{object::ObjectPlace, store::RemoteObject};
    use super::*;

    fn object(minute: u32, size: u64) -> InputObject {
        let key = format!(
            "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T10{minute:02}Z_a.json.gz"
        );
        let remote = RemoteObject {
            bucket: "b".to_owned(),
            key: key.clone(),
            etag: String::new(),
            size,
        };
        InputObject::at(ObjectPlace::S3(remote), key.clone(), &key, false)
    }

    fn sizes(batches: &[Vec<&InputObject>]) -> Vec<Vec<u64>> {
        batches
            .iter()
            .map(|batch| batch.iter().map(|object| object.size()).collect())
            .collect()
    }

    #[test]
    fn batches_follow_the_deliveries_and_keep_to_bytes_and_count() {
        let objects = [object(3, 30), object(1, 10), object(2, 20), object(4, 40)];
        assert_eq!(
            sizes(&by_delivery(&objects, 60, 10)),
            [vec![10, 20, 30], vec![40]]
        );
        assert_eq!(
            sizes(&by_delivery(&objects, 1_000, 2)),
            [vec![10, 20], vec![30, 40]]
        );
    }

    #[test]
    fn an_object_larger_than_a_batch_is_a_batch_of_its_own() {
        let objects = [object(1, 500), object(2, 1)];
        assert_eq!(sizes(&by_delivery(&objects, 60, 10)), [vec![500], vec![1]]);
        assert!(by_delivery(&[], 60, 10).is_empty());
    }
}
