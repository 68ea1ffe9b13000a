//! Servers that stand in for AWS, on this machine only: started on free loopback ports, and stopped
//! when they are dropped. And the programs that read what we write.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::install;

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many ports are tried.
const PORTS: usize = 5;

/// DynamoDB alone; starts in milliseconds.
fn dynoxide() -> PathBuf {
    install::npm("dynoxide").join("@dynoxide/linux-x64/dynoxide")
}

/// S3, SQS, SNS, Lambda, DynamoDB and CloudFormation.
fn ministack() -> PathBuf {
    install::python("ministack").join("bin/ministack")
}

/// A Python that has `PyYAML`, which reads templates.
#[must_use]
pub fn yaml() -> PathBuf {
    install::python("ministack").join("bin/python")
}

/// A Python that has `DuckDB`, which reads Parquet.
#[must_use]
pub fn duckdb() -> PathBuf {
    install::python("duckdb").join("bin/python")
}

/// A Python that has botocore, with the models of the APIs of AWS.
#[must_use]
pub fn boto() -> PathBuf {
    install::python("ministack").join("bin/python")
}

/// A Python that has the models of OCSF, which validate findings.
#[must_use]
pub fn ocsf() -> PathBuf {
    install::python("ocsf").join("bin/python")
}

/// A Python that has pySigma, the reference for what a Sigma rule means.
#[must_use]
pub fn pysigma() -> PathBuf {
    install::python("pysigma").join("bin/python")
}

/// A Python that drives a browser, the browser, and the folder of its libraries.
fn browser() -> (PathBuf, PathBuf, PathBuf) {
    let python = install::python("browser").join("bin/python");
    let chromium = install::chromium(&python);
    (python, chromium.join("chromium"), chromium.join("lib"))
}

/// What a script of `support` prints about a page that it opens: JSON. It gets the browser, the
/// folder of its libraries, and these arguments.
///
/// # Panics
///
/// The script fails.
#[must_use]
pub fn in_browser(script: &str, args: &[&OsStr]) -> Value {
    let (python, chromium, libraries) = browser();
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("support");
    let output = Command::new(python)
        .arg(support.join(script))
        .args([chromium, libraries])
        .args(args)
        .output()
        .expect("the script runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// The script that finds what keeps people from using a page.
#[must_use]
pub fn axe() -> PathBuf {
    install::npm("axe").join("axe-core/axe.min.js")
}

/// A port that was free a moment ago.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    listener.local_addr().expect("it has an address").port()
}

/// A server and everything that it started.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    port: u16,
    log: PathBuf,
    /// What it leaves behind goes with it.
    _scratch: TempDir,
}

impl Server {
    /// DynamoDB alone.
    #[must_use]
    pub fn dynamodb() -> Self {
        Self::answering(
            "dynoxide",
            |port| {
                let mut command = Command::new(dynoxide());
                command.args(["serve", "--port", &port.to_string()]);
                command
            },
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 ",
        )
    }

    /// The whole stack.
    #[must_use]
    pub fn stack() -> Self {
        Self::stack_with(&[])
    }

    /// The whole stack, which lets functions do what their roles allow and nothing else.
    #[must_use]
    pub fn strict_stack() -> Self {
        Self::stack_with(&[("AUTH", "true")])
    }

    fn stack_with(more: &[(&str, &str)]) -> Self {
        Self::answering(
            "ministack",
            |port| {
                let mut command = Command::new(ministack());
                let url = format!("http://127.0.0.1:{port}");
                command.envs([
                    ("AWS_ENDPOINT_URL", url.as_str()),
                    ("BIND_HOST", "127.0.0.1"),
                    ("GATEWAY_PORT", &port.to_string()),
                    ("MINISTACK_HOST", "127.0.0.1"),
                    ("SFTP_ENABLED", "0"),
                ]);
                command.envs(more.iter().copied());
                command
            },
            "GET /_ministack/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200",
        )
    }

    /// A server that answers a request. Another test may take the port before the server does: then
    /// it is started again on the next.
    fn answering(
        name: &str,
        command: impl Fn(u16) -> Command,
        request: &str,
        expected: &str,
    ) -> Self {
        for _ in 0..PORTS {
            let port = free_port();
            let mut server = Self::start(command(port), port, name);
            if server.answers(request, expected) {
                return server;
            }
            let log = server.log();
            assert!(
                log.contains("in use"),
                "no answer from {} in {PATIENCE:?}; its log:\n{log}",
                server.url
            );
        }
        panic!("{name} found no free port {PORTS} times")
    }

    fn start(mut command: Command, port: u16, name: &str) -> Self {
        let log = install::folder().join(format!("{name}-{port}.log"));
        let output = File::create(&log).expect("a log file can be made");
        let errors = output.try_clone().expect("it can be shared");
        let scratch = TempDir::new().expect("a folder can be made");
        command.env("TMPDIR", scratch.path());
        // A group of its own, so that what it starts is stopped with it.
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            port,
            log,
            _scratch: scratch,
        }
    }

    /// Whether it answers before it ends, or patience does.
    fn answers(&mut self, request: &str, expected: &str) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            let answer = self.ask(request);
            if answer.is_some_and(|answer| answer.starts_with(expected)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn ask(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).ok()?;
        Some(String::from_utf8_lossy(answer.get(..length)?).into_owned())
    }

    /// What it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        // Whatever cannot be stopped is gone already.
        Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status()
            .ok();
        self.child.wait().ok();
        if !std::thread::panicking() {
            std::fs::remove_file(&self.log).ok();
        }
    }
}
