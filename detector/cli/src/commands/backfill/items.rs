//! What an execution runs: its missing batches by their place in the manifests, as a CSV object in
//! S3 that the state machine reads, and the batches that it tries first.

use secretrail_engine::{digest::digest, manifest::IndexedBatch};
use serde_json::{Value, json};

use crate::commands::backfill::job::JobLocation;

/// Header of the CSV; the state machine uses these names.
const HEADER: &str = "manifest,head,offset,length,part\n";

/// Folder of the results of an execution, below the job.
const RESULTS: &str = "results";

/// What one execution runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunItems {
    /// Name of the CSV object below the job; derived from its text, so that equal rows are one
    /// object.
    pub(super) name: String,
    /// CSV with header.
    pub(super) text: String,
    /// Input of the execution.
    pub(super) input: Value,
}

impl RunItems {
    /// The items of an execution over these batches; `None` without any.
    pub(super) fn of(missing: &[&IndexedBatch], place: &JobLocation) -> Option<Self> {
        let (canary, rest) = missing.split_first()?;
        // Of another account: S3 may refuse all of one.
        let other = rest.iter().find(|batch| batch.account != canary.account);
        let mut text = HEADER.to_owned();
        rest.iter()
            .for_each(|batch| text.push_str(&row(batch, place)));
        let name = format!("items-{}.csv", digest(&[&text]));
        let input = json!({
            "bucket": place.0.bucket,
            "prefix": place.0.prefix,
            "items": place.0.key(&name),
            "results": place.0.key(RESULTS),
            "canary": item(canary, place),
            "other": item(other.unwrap_or(canary), place),
            "more": !rest.is_empty(),
        });
        Some(Self { name, text, input })
    }

    /// The name of the execution after this one: a digest of what runs. Whoever starts the same
    /// starts it once, since Step Functions accepts a name once in 90 days; and what has ended can
    /// be run again.
    pub(super) fn execution(&self, last: Option<&str>) -> String {
        let input = self.input.to_string();
        let digest = digest(&[&input, last.unwrap_or_default()]);
        format!("secretrail-{digest}")
    }
}

/// A batch as an item: all texts, as those of CSV are.
fn item(batch: &IndexedBatch, place: &JobLocation) -> Value {
    json!({
        "manifest": place.0.key(&batch.shard),
        "head": batch.head.to_string(),
        "offset": batch.offset.to_string(),
        "length": batch.length.to_string(),
        "part": batch.part,
    })
}

fn row(batch: &IndexedBatch, place: &JobLocation) -> String {
    // Keys are quoted: they may contain commas and quotes.
    let key = place.0.key(&batch.shard).replace('"', "\"\"");
    let IndexedBatch {
        head,
        offset,
        length,
        part,
        ..
    } = batch;
    format!("\"{key}\",{head},{offset},{length},{part}\n")
}

/// ARN of an execution of a state machine, also of one that is named with a version or an alias;
/// `None` if it is no such ARN.
pub(super) fn execution_arn(machine: &str, name: &str) -> Option<String> {
    let (place, machine) = machine.split_once(":stateMachine:")?;
    let machine = machine.split(':').next()?;
    (place.starts_with("arn:") && !machine.is_empty())
        .then(|| format!("{place}:execution:{machine}:{name}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::index;
    use super::*;

    #[test]
    fn the_first_batch_runs_alone_and_the_others_are_rows() {
        let index = index(&[1, 2, 3]);
        let place = JobLocation::of(Path::new("s3://b/\"job\"")).unwrap();
        let all: Vec<&IndexedBatch> = index.batches.iter().collect();
        let items = RunItems::of(&all, &place).unwrap();
        let [first, second, third] = index.batches.as_slice() else {
            panic!("three batches")
        };
        assert_eq!(items.input["canary"]["part"], first.part);
        assert_eq!(items.input["canary"]["offset"], first.offset.to_string());
        assert_eq!(items.input["more"], true);
        let key = "\"\"\"job\"\"/objects/00000.manifest.jsonl\"";
        let row = |batch: &IndexedBatch| {
            let IndexedBatch {
                head,
                offset,
                length,
                part,
                ..
            } = batch;
            format!("{key},{head},{offset},{length},{part}\n")
        };
        assert_eq!(items.text, format!("{HEADER}{}{}", row(second), row(third)));
        let alone = RunItems::of(&[third], &place).unwrap();
        assert_eq!(alone.input["more"], false);
        assert_eq!(alone.input["other"], alone.input["canary"]);
        assert_eq!(RunItems::of(&[], &place), None);
    }

    #[test]
    fn the_second_try_is_of_another_account() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let mut index = index(&[1, 2, 3]);
        for (batch, account) in index.batches.iter_mut().zip(["1", "1", "2"]) {
            batch.account = Some(account.to_owned());
        }
        let all: Vec<&IndexedBatch> = index.batches.iter().collect();
        let items = RunItems::of(&all, &place).unwrap();
        assert_eq!(items.input["other"]["part"], all[2].part);
        assert!(items.text.contains(&all[2].part), "it is run in any case");
    }

    #[test]
    fn a_job_of_two_hundred_thousand_batches_is_one_execution() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let index = index(&[1]);
        let all = vec![&index.batches[0]; 200_000];
        let items = RunItems::of(&all, &place).unwrap();
        assert_eq!(
            items.text.lines().count(),
            200_000,
            "the header and all but the first"
        );
        assert!(items.input.to_string().len() < 4_096);
    }

    #[test]
    fn the_name_of_an_execution_says_what_runs_and_after_what() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let index = index(&[1, 2]);
        let all: Vec<&IndexedBatch> = index.batches.iter().collect();
        let items = RunItems::of(&all, &place).unwrap();
        let name = items.execution(None);
        assert_eq!(name, RunItems::of(&all, &place).unwrap().execution(None));
        assert_ne!(
            name,
            RunItems::of(&all[1..], &place).unwrap().execution(None)
        );
        assert_ne!(name, items.execution(Some("arn:of:the:last")));
        let elsewhere = JobLocation::of(Path::new("s3://b/job-2")).unwrap();
        assert_ne!(
            name,
            RunItems::of(&all, &elsewhere).unwrap().execution(None)
        );
        assert!(name.len() <= 80, "{name}");
        let machine = "arn:aws:states:eu-west-1:111122223333:stateMachine:s-backfill";
        let arn = "arn:aws:states:eu-west-1:111122223333:execution:s-backfill:n";
        for machine in [machine, &format!("{machine}:live")] {
            assert_eq!(execution_arn(machine, "n").as_deref(), Some(arn));
        }
        assert_eq!(execution_arn("s-backfill", "n"), None);
    }
}
