//! `doctor`: how a deployment in AWS is, from outside, with the permissions of the caller. Nothing
//! is changed.

mod alarms;
mod delivered;
mod destinations;
mod files;
mod findings;
mod function;
mod keys;
mod queue;
mod rules;
mod schedule;
mod stack;
mod table;

use std::sync::Arc;

use secretrail_engine::time::EventTime;

use self::findings::{CheckupReport, Findings, Verdict};
use crate::{
    args::{deployment::DoctorArgs, input::AwsArgs, settings::RunSettings},
    aws_api::AwsApi,
    deployment::{Deployment, aws_of, bucket::TrailBucket, logical, table::StateTable},
    exit,
    host::{ProcessHost, RunFailure, say},
    input::{
        aws::{Connection, connect_to},
        s3,
        store::ObjectStore,
    },
    output::{listing, out::OpenOutput},
    text::plural,
};

/// A deployment that is being checked, and what was found.
struct Checkup<'c> {
    api: &'c AwsApi,
    stack: &'c Deployment,
    table: StateTable<'c>,
    bucket: TrailBucket,
    /// Objects with rules, policy and lists.
    store: Box<dyn ObjectStore>,
    accounts: &'c [String],
    now: EventTime,
    findings: Findings,
}

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &DoctorArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let aws = aws_of(&args.stack);
    let settings = RunSettings::without_input(&aws, &args.output, host)?;
    settings.must_be_rows("doctor")?;
    let connection = connect_to(&aws)?;
    let mut out = OpenOutput::open(&settings)?;
    let found = look(&connection, args, &aws, host.now);
    let (stack, findings) = match found {
        Ok(found) => found,
        Err(why) => {
            say(host, &format!("secretrail: {why}\n"));
            return Ok(exit::NOT_CHECKED);
        }
    };
    let report = CheckupReport {
        findings: &findings,
        stack: &stack,
        width: host.stdout_is_terminal.then_some(settings.width),
        is_coloured: settings.color,
    };
    listing::write(&report, settings.format, &mut out)?;
    out.finish(host)?;
    if !settings.quiet {
        say(host, &closing(&stack, &findings));
    }
    Ok(match findings.worst() {
        Verdict::Ok | Verdict::Warn => exit::DONE,
        Verdict::Fail => exit::FINDINGS,
    })
}

/// Finds the stack and makes all checks; or says why there is nothing to check.
fn look(
    connection: &Arc<Connection>,
    args: &DoctorArgs,
    aws: &AwsArgs,
    now: EventTime,
) -> Result<(Deployment, Findings), String> {
    let api = AwsApi::new(Arc::clone(connection)).map_err(|error| error.to_string())?;
    let stack = Deployment::named(&api, &args.stack).map_err(|error| error.to_string())?;
    let bucket = TrailBucket::new(Arc::clone(connection), stack.parameter("TrailBucket"));
    let mut checkup = Checkup {
        api: &api,
        stack: &stack,
        table: StateTable::new(&api, stack.physical(logical::TABLE).unwrap_or_default()),
        bucket,
        store: s3::store(Some(connection), aws),
        accounts: &args.account,
        now,
        findings: Findings::default(),
    };
    checkup.all();
    let findings = checkup.findings;
    Ok((stack, findings))
}

impl Checkup<'_> {
    /// In the order of the path of a file: what fails first explains what fails behind it.
    fn all(&mut self) {
        stack::check(self);
        let function = function::check(self);
        let queue = queue::mapping(self, &function);
        files::check(self, queue.as_deref());
        queue::check(self, queue.as_deref());
        schedule::check(self, &function);
        table::check(self);
        rules::check(self, &function);
        keys::check(self);
        destinations::check(self, &function);
        alarms::check(self);
        delivered::check(self);
    }
}

fn closing(stack: &Deployment, findings: &Findings) -> String {
    let Deployment {
        name,
        account,
        region,
        ..
    } = stack;
    let (fail, warn) = (findings.count(Verdict::Fail), findings.count(Verdict::Warn));
    format!(
        "{name} in {account} {region}: {} ok, {}, {}\n",
        findings.count(Verdict::Ok),
        plural(warn, "warning"),
        plural(fail, "failure")
    )
}
