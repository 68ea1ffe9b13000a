//! The `accesses` command: the ledger, one line for each access to a secret.

use std::time::Instant;

use secretrail_engine::rule::RuleSet;

use crate::args::settings::Settings;
use crate::args::{self, Format};
use crate::host::{Failure, Host};
use crate::input::merge;
use crate::input::session::{Opened, find_in};
use crate::output::out::Out;
use crate::output::run_summary::close;

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Accesses, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let settings = Settings::new(&args.input, &args.output, host)?;
    if settings.format != Format::Parquet {
        settings.must_be_rows("accesses")?;
    }
    let mut out = Out::open(&settings)?;
    let (rules, opened) = (RuleSet::default(), Opened::new(&settings)?);
    let found = if merge::fits(&opened, &settings) {
        merge::run(opened, &settings, &rules, None, host.now, &mut |outcome| {
            out.accesses(&outcome.accesses)?;
            out.pass_on(host)
        })?
    } else {
        let found = find_in(opened, &settings, &rules, None, host)?;
        out.accesses(&found.accesses)?;
        found
    };
    out.finish(host)?;
    let code = close(&settings, &found, started, None, host);
    // The process is about to end: giving back millions of pieces of memory one by one would only delay it.
    std::mem::forget(found);
    Ok(code)
}
