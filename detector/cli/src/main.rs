//! The `secretrail` command: the process around [`secretrail_cli::run`].

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use mimalloc::MiMalloc;
use secretrail_cli::{
    host::{ConfigSource, ProcessHost, terminal_width},
    run::run,
};
use secretrail_engine::time::EventTime;

/// The threads keep millions of small allocations, for which the system's allocator requests each
/// page from the kernel.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let mut host = ProcessHost {
        stdin: Box::new(io::stdin()),
        stdout: stdout(),
        stderr: Box::new(io::stderr()),
        stdout_is_terminal: io::stdout().is_terminal(),
        stderr_is_terminal: io::stderr().is_terminal(),
        width: terminal_width(),
        no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        config: ConfigSource::of(|name| std::env::var_os(name)),
        now: EventTime(chrono::Utc::now().timestamp()),
    };
    // Before the run: the handler must exist when the first temporary file does.
    secretrail_cli::output::target::remove_partial_on_interrupt();
    ExitCode::from(run(std::env::args_os(), &mut host))
}

/// Standard output. Before `main`, the runtime of Rust puts `/dev/null` in place of a closed one;
/// results written there would be lost in silence.
fn stdout() -> Box<dyn Write> {
    if STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
        Box::new(ClosedStdout)
    } else {
        Box::new(io::stdout())
    }
}

/// Fails on the first byte.
struct ClosedStdout;

impl Write for ClosedStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        Err(io::Error::other("it is closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before the runtime of Rust does; later, a closed output looks like `/dev/null`.
#[cfg(any(target_os = "linux", target_os = "macos"))]
#[expect(
    unsafe_code,
    reason = "no safe code runs before the runtime; this only looks at a path"
)]
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn look() {
        let open = |name: &str| std::fs::symlink_metadata(name).is_ok();
        // Systems without this folder do not show it.
        let is_closed = open("/dev/fd/") && !open("/dev/fd/1");
        STDOUT_WAS_CLOSED.store(is_closed, Ordering::Relaxed);
    }
    look
};
