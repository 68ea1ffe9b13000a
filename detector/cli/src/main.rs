//! The `secretrail` command: the process around [`secretrail_cli::run`].

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use mimalloc::MiMalloc;
use secretrail_cli::host::{ConfigSource, ProcessHost};
use secretrail_cli::run::run;
use secretrail_engine::time::EventTime;

/// The threads keep millions of small allocations, for which the system's allocator requests each
/// page from the kernel.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let mut host = ProcessHost {
        stdin: Box::new(io::stdin()),
        stdout: Box::new(io::stdout()),
        stderr: Box::new(io::stderr()),
        stdout_is_terminal: io::stdout().is_terminal(),
        stderr_is_terminal: io::stderr().is_terminal(),
        no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        config: ConfigSource::of(|name| std::env::var_os(name)),
        now: EventTime(chrono::Utc::now().timestamp()),
    };
    secretrail_cli::output::out::remove_partial_on_interrupt();
    ExitCode::from(run(std::env::args_os(), &mut host))
}
