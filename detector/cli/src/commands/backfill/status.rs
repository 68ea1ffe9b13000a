//! Progress of a job as text: its execution, its extract files, and what is missing.

use std::fmt::Write as _;

use secretrail_engine::{
    manifest::{BackfillManifest, ManifestBatch},
    time::EventTime,
};

use crate::{
    commands::backfill::{
        job::JobLocation,
        progress::ExecutionState,
        reached::{ReachedJob, StateMachineExecution},
    },
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::manifest as job_manifest,
    output::run_summary,
    text::number,
};

/// Prints the progress of a job and, if no execution is running, what is missing; returns the exit
/// code.
pub(super) fn tell(
    job: &ReachedJob,
    execution: Option<&StateMachineExecution>,
    quiet: bool,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    // Listed again: extract files may have been written since.
    let there = job.there()?;
    let missing = job.missing(&there);
    if !quiet {
        let mut text = execution_text(execution, host.now);
        text.push_str(&parts_text(&job.manifest, &missing, &job.place));
        print(host, &text)?;
    }
    // A running execution may still create what is missing.
    let runs = execution.is_some_and(|execution| execution.progress.state == ExecutionState::Runs);
    if !runs {
        let folder = job.place.0.name("");
        let problems = job_manifest::reported(&folder, &missing);
        say(host, &run_summary::problems(&problems));
    }
    Ok(if missing.is_empty() {
        exit::DONE
    } else {
        exit::INPUT
    })
}

fn execution_text(execution: Option<&StateMachineExecution>, now: EventTime) -> String {
    let Some(StateMachineExecution { arn, progress }) = execution else {
        return String::new();
    };
    let mut text = format!(
        "execution      {arn}\nstate          {}\n",
        progress.words()
    );
    if let Some(pace) = progress.pace(now) {
        writeln!(text, "pace           {pace}").ok();
    }
    text
}

fn parts_text(
    manifest: &BackfillManifest,
    missing: &[&ManifestBatch],
    place: &JobLocation,
) -> String {
    let head = &manifest.head;
    let missing_bytes: u64 = missing.iter().map(|batch| batch.bytes()).sum();
    // Rounded down: 100 % means complete. Empty objects have no bytes to wait for.
    let share = head
        .bytes
        .saturating_sub(missing_bytes)
        .saturating_mul(100)
        .checked_div(head.bytes)
        .unwrap_or(100);
    let (done, all) = (
        number(head.batches - missing.len() as u64),
        number(head.batches),
    );
    let mut text = format!("extract files  {done} of {all}, {share} % of the bytes\n");
    if missing.is_empty() {
        let folder = place.0.name("");
        writeln!(text, "next           secretrail replay {folder}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{progress::ExecutionProgress, tests::manifest};
    use super::*;

    #[test]
    fn a_share_of_100_percent_means_complete() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let manifest = manifest(&[999, 1]);
        let missing = [&manifest.batches[1]];
        let text = parts_text(&manifest, &missing, &place);
        assert_eq!(text, "extract files  1 of 2, 99 % of the bytes\n");
        let text = parts_text(&manifest, &[], &place);
        assert_eq!(
            text,
            "extract files  2 of 2, 100 % of the bytes\n\
             next           secretrail replay s3://b/job/\n"
        );
    }

    #[test]
    fn a_job_of_empty_objects_has_all_its_bytes() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let manifest = manifest(&[0]);
        let text = parts_text(&manifest, &[&manifest.batches[0]], &place);
        assert_eq!(text, "extract files  0 of 1, 100 % of the bytes\n");
    }

    #[test]
    fn the_pace_of_a_running_execution_is_shown() {
        assert_eq!(execution_text(None, EventTime(0)), "");
        let progress = ExecutionProgress {
            state: ExecutionState::Runs,
            started: EventTime(0),
            done: 60,
            failed: 0,
            all: 120,
            why: None,
        };
        let execution = StateMachineExecution {
            arn: "arn:x".to_owned(),
            progress,
        };
        assert_eq!(
            execution_text(Some(&execution), EventTime(60)),
            "execution      arn:x\nstate          running, 60 of 120 items done, 0 failed\n\
             pace           60 items a minute, about 1 minute left\n"
        );
    }
}
