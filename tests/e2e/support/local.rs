//! Servers that stand in for AWS, on this machine only: installed in pinned versions below `target/local`, started on free
//! loopback ports, and stopped when they are dropped. What cannot be installed fails with what to do about it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// DynamoDB alone; starts in milliseconds.
const DYNOXIDE: &str = "1.2.1";
const DYNOXIDE_SHA256: &str = "80e1ed33e33ec33c7bdcb1779ea09678e5c6f87c5c225f44c2037d2b2ea71164";
/// S3, SQS, SNS, Lambda, DynamoDB and CloudFormation.
const MINISTACK: &str = "1.5.33";
/// Translates SAM templates for MiniStack.
const TRANSLATOR: &str = "1.115.0";

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/local");
    std::fs::create_dir_all(&folder).expect("target/local can be made");
    folder.canonicalize().expect("target/local is there")
}

/// Runs a program of the installation, or says what is missing.
fn must(command: &mut Command, what: &str, remedy: &str) {
    let output = command.output();
    let failure = match output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "the end-to-end tests need {what}, and it could not be installed: {failure}\nremedy: {remedy}"
    );
}

/// Installs something once, whichever process comes first.
fn once(name: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let folder = folder();
    let lock = File::create(folder.join(format!("{name}.lock"))).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    let done = folder.join(format!("{name}.done"));
    let place = folder.join(name);
    if !done.exists() {
        install(&place);
        File::create(&done).expect("the installation can be noted");
    }
    place
}

fn dynoxide() -> PathBuf {
    once(&format!("dynoxide-{DYNOXIDE}"), |place| {
        let script = "import hashlib, io, sys, tarfile, urllib.request\n\
            url, digest, place = sys.argv[1:]\n\
            data = urllib.request.urlopen(url, timeout=120).read()\n\
            if hashlib.sha256(data).hexdigest() != digest: sys.exit('the download has another SHA-256 than ' + digest)\n\
            tarfile.open(fileobj=io.BytesIO(data)).extractall(place)\n";
        let url = format!("https://registry.npmjs.org/@dynoxide/linux-x64/-/linux-x64-{DYNOXIDE}.tgz");
        let mut python = Command::new("python3");
        python.args(["-c", script, &url, DYNOXIDE_SHA256]).arg(place);
        must(&mut python, "dynoxide (a DynamoDB for tests)", "install Python 3, on x86_64 Linux with access to registry.npmjs.org");
    })
    .join("package/dynoxide")
}

/// The virtual environment with MiniStack in it.
fn ministack() -> PathBuf {
    let packages = [
        format!("ministack=={MINISTACK}"),
        format!("aws-sam-translator=={TRANSLATOR}"),
    ];
    python(
        &format!("ministack-{MINISTACK}"),
        &packages,
        "MiniStack (S3, SQS, SNS, Lambda and DynamoDB for tests)",
    )
}

/// Chromium for tests, as npm has it, and what drives it.
const CHROMIUM: &str = "153.0.0";
const CHROMIUM_SHA256: &str = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0";
const PLAYWRIGHT: &str = "1.65.2";
const BROTLI: &str = "1.2.1";
/// Models of OCSF.
const OCSF: &str = "0.10.0";
/// Reads Parquet.
const DUCKDB: &str = "2.0.1";

/// A virtual environment of Python with packages in it.
fn python(name: &str, packages: &[String], what: &str) -> PathBuf {
    once(name, |place| {
        let remedy = "install Python 3 with venv and pip, with access to pypi.org";
        must(
            Command::new("python3").args(["-m", "venv"]).arg(place),
            "a Python virtual environment",
            remedy,
        );
        let mut pip = Command::new(place.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages);
        must(&mut pip, what, remedy);
    })
}

/// A Python that has `DuckDB`.
#[must_use]
pub fn duckdb() -> PathBuf {
    python(
        &format!("duckdb-{DUCKDB}"),
        &[format!("duckdb=={DUCKDB}")],
        "DuckDB (reads Parquet)",
    )
    .join("bin/python")
}

/// A Python that has the models of OCSF.
#[must_use]
pub fn ocsf() -> PathBuf {
    python(
        &format!("ocsf-{OCSF}"),
        &[format!("py-ocsf-models=={OCSF}")],
        "py-ocsf-models (validates findings)",
    )
    .join("bin/python")
}

/// A Python that drives a browser, the browser, and the folder of its libraries.
#[must_use]
pub fn browser() -> (PathBuf, PathBuf, PathBuf) {
    let packages = [
        format!("playwright=={PLAYWRIGHT}"),
        format!("brotli=={BROTLI}"),
    ];
    let name = format!("playwright-{PLAYWRIGHT}");
    let python = python(&name, &packages, "Playwright (drives a browser)").join("bin/python");
    let chromium = once(&format!("chromium-{CHROMIUM}"), |place| {
        let script = "import brotli, hashlib, io, os, sys, tarfile, urllib.request\n\
            url, digest, place = sys.argv[1:]\n\
            data = urllib.request.urlopen(url, timeout=120).read()\n\
            if hashlib.sha256(data).hexdigest() != digest: sys.exit('the download has another SHA-256 than ' + digest)\n\
            package = tarfile.open(fileobj=io.BytesIO(data))\n\
            part = lambda name: brotli.decompress(package.extractfile('package/bin/' + name).read())\n\
            os.makedirs(place, exist_ok=True)\n\
            open(place + '/chromium', 'wb').write(part('chromium.br'))\n\
            os.chmod(place + '/chromium', 0o755)\n\
            for name in 'al2023.tar.br', 'swiftshader.tar.br', 'fonts.tar.br':\n\
            \u{20}tarfile.open(fileobj=io.BytesIO(part(name))).extractall(place, filter='data')\n";
        let url =
            format!("https://registry.npmjs.org/@sparticuz/chromium/-/chromium-{CHROMIUM}.tgz");
        let mut install = Command::new(&python);
        install
            .args(["-c", script, &url, CHROMIUM_SHA256])
            .arg(place);
        let remedy = "run on x86_64 Linux, with access to registry.npmjs.org";
        must(&mut install, "Chromium (opens the report)", remedy);
    });
    (python, chromium.join("chromium"), chromium.join("lib"))
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
        let port = free_port();
        let mut command = Command::new(dynoxide());
        command.args(["serve", "--port", &port.to_string()]);
        let mut server = Self::start(command, port, "dynoxide");
        server.wait(
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 ",
        );
        server
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
        let port = free_port();
        let mut command = Command::new(ministack().join("bin/ministack"));
        let url = format!("http://127.0.0.1:{port}");
        command.envs([
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("BIND_HOST", "127.0.0.1"),
            ("GATEWAY_PORT", &port.to_string()),
            ("MINISTACK_HOST", "127.0.0.1"),
            ("SFTP_ENABLED", "0"),
        ]);
        command.envs(more.iter().copied());
        let mut server = Self::start(command, port, "ministack");
        server.wait(
            "GET /_ministack/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200",
        );
        server
    }

    fn start(mut command: Command, port: u16, name: &str) -> Self {
        let log = folder().join(format!("{name}-{port}.log"));
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

    fn wait(&mut self, request: &str, expected: &str) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self
                .ask(request)
                .is_some_and(|answer| answer.starts_with(expected))
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!(
            "no answer from {} in {PATIENCE:?}; its log:\n{}",
            self.url,
            self.log()
        );
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
