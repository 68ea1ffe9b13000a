//! Progress of a job as text: its execution, its extract files, and what is missing.

use std::fmt::Write as _;

use secretrail_engine::{
    manifest::{BackfillIndex, IndexedBatch},
    sanitize,
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

/// Prints the progress of a job, what could not be read and, if no execution is running, what is
/// missing; returns the exit code.
pub(super) fn tell(
    job: &ReachedJob,
    execution: Option<&StateMachineExecution>,
    quiet: bool,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    // Listed again: extract files may have been written since.
    let there = job.there()?;
    let missing = job.missing(&there);
    let failed = job.failed(&there)?;
    if !quiet {
        let mut text = execution_text(execution, host.now);
        text.push_str(&child_text(job, execution));
        let unread = failed.0.len() as u64;
        text.push_str(&parts_text(&job.index, &missing, unread, &job.place));
        print(host, &text)?;
    }
    say(host, &run_summary::problems(&failed.problems(&job.place)));
    // A running execution may still create what is missing.
    let runs = execution.is_some_and(|execution| execution.progress.state == ExecutionState::Runs);
    if !runs {
        let folder = job.place.0.name("");
        let problems = job_manifest::reported(&folder, &missing);
        say(host, &run_summary::problems(&problems));
    }
    Ok(if missing.is_empty() && failed.0.is_empty() {
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

/// Why one of the batches failed; empty if none did.
fn child_text(job: &ReachedJob, execution: Option<&StateMachineExecution>) -> String {
    let failed = execution.filter(|execution| execution.progress.failed > 0);
    let why = failed.and_then(|execution| {
        // That it cannot be asked for must not hide the rest.
        let failure = job.machines.child_failure(&execution.arn);
        failure.unwrap_or_else(|error| Some(error.message))
    });
    why.map(|why| format!("a failed item  {}\n", sanitize::line(&why)))
        .unwrap_or_default()
}

fn parts_text(
    index: &BackfillIndex,
    missing: &[&IndexedBatch],
    unread: u64,
    place: &JobLocation,
) -> String {
    let head = &index.head;
    let missing_bytes: u64 = missing.iter().map(|batch| batch.bytes).sum();
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
    if unread > 0 {
        let (unread, all) = (number(unread), number(head.objects));
        writeln!(text, "not read       {unread} of {all} objects").ok();
    }
    if missing.is_empty() {
        let folder = place.0.name("");
        writeln!(text, "next           secretrail replay {folder}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{progress::ExecutionProgress, tests::index};
    use super::*;

    #[test]
    fn a_share_of_100_percent_means_complete() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let index = index(&[999, 1]);
        let missing = [&index.batches[1]];
        let text = parts_text(&index, &missing, 1, &place);
        assert_eq!(
            text,
            "extract files  1 of 2, 99 % of the bytes\nnot read       1 of 2 objects\n"
        );
        let text = parts_text(&index, &[], 0, &place);
        assert_eq!(
            text,
            "extract files  2 of 2, 100 % of the bytes\n\
             next           secretrail replay s3://b/job/\n"
        );
    }

    #[test]
    fn a_job_of_empty_objects_has_all_its_bytes() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let index = index(&[0]);
        let text = parts_text(&index, &[&index.batches[0]], 0, &place);
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
