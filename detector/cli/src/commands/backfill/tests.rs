//! A job without AWS, for the tests of planning and status.

use secretrail_engine::{
    extract_file::ExtractHeader,
    manifest::{BackfillIndex, ShardWriter},
};

use crate::{commands::tests::ran, exit, input::store::RemoteObject};

/// An index with one batch of one object for each of these sizes.
pub(super) fn index(sizes: &[u64]) -> BackfillIndex {
    let mut writer = ShardWriter::new(ExtractHeader::default(), 1_000);
    for size in sizes {
        drop(writer.add(vec![RemoteObject {
            bucket: "b".to_owned(),
            key: format!("logs/{size}.json.gz"),
            etag: "e".to_owned(),
            size: *size,
        }]));
    }
    writer.finish().1
}

#[test]
fn a_job_outside_of_s3_is_refused_before_any_call() {
    for args in [
        &["backfill", "status", "job"][..],
        &["backfill", "stop", "job"],
        &["backfill", "clean", "job"],
        &["backfill", "run", "job", "--state-machine", "arn"],
        &["backfill", "resume", "s3://", "--state-machine", "arn"],
    ] {
        let refused = ran(args);
        assert_eq!(refused.code, exit::USAGE);
        assert!(refused.err.contains("a job is in S3"), "{}", refused.err);
    }
}

#[test]
fn what_is_no_state_machine_is_refused_before_any_call() {
    let refused = ran(&["backfill", "run", "s3://b/job", "--state-machine", "mine"]);
    assert_eq!(refused.code, exit::USAGE);
    assert!(
        refused
            .err
            .starts_with("mine: is not the ARN of a state machine"),
        "{}",
        refused.err
    );
}
