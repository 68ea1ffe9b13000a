//! What tests need from elsewhere: installed once below `target/local`, by the client of its
//! registry, from a lock file in `packages/` with names, versions and hashes. What cannot be
//! installed fails with what to do about it.

use std::{
    ffi::OsString,
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packages");

/// Why something is not installed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// The client of its registry is not on this machine.
    #[error("{program} was not found; install {remedy}")]
    NoClient {
        /// The program that was looked for.
        program: &'static str,
        /// What brings it.
        remedy: &'static str,
    },
    /// The client ran, and failed.
    #[error("`{command}` failed: {output}\nit needs {needs}, and access to its package registry")]
    Failed {
        /// What was run.
        command: String,
        /// What it said.
        output: String,
        /// What it needs to work.
        needs: &'static str,
    },
}

/// A client of a package registry, or what it needs.
#[derive(Debug, Clone, Copy)]
struct Client {
    program: &'static str,
    brought_by: &'static str,
}

const NPM: Client = Client {
    program: "npm",
    brought_by: "Node.js with npm",
};
const PYTHON: Client = Client {
    program: "python3",
    brought_by: "Python 3.11 or newer with venv and pip",
};

/// Runs the clients that are found on a `PATH`.
#[derive(Debug, Default)]
pub struct Installer {
    /// Where programs are looked for, when it is not where this process looks.
    pub path: Option<OsString>,
}

impl Installer {
    /// Installs what a folder with `package.json` and `package-lock.json` names into a folder.
    ///
    /// # Errors
    ///
    /// [`InstallError`].
    pub fn npm(&self, locked: &Path, place: &Path) -> Result<(), InstallError> {
        std::fs::create_dir_all(place).expect("a folder can be made");
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(locked.join(file), place.join(file)).expect("it can be copied");
        }
        // `ci` takes what is in the lock file and nothing else, and compares the hashes.
        let mut npm = Command::new(NPM.program);
        npm.current_dir(place)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        self.run(NPM, npm)
    }

    /// Installs what a file of requirements names into a new virtual environment of Python.
    ///
    /// # Errors
    ///
    /// [`InstallError`].
    pub fn python(&self, locked: &Path, place: &Path) -> Result<(), InstallError> {
        let mut venv = Command::new(PYTHON.program);
        venv.args(["-m", "venv"]).arg(place);
        self.run(PYTHON, venv)?;
        let mut pip = Command::new(place.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
        ])
        .arg(locked);
        self.run(PYTHON, pip)
    }

    fn run(&self, client: Client, mut command: Command) -> Result<(), InstallError> {
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let Client {
            program,
            brought_by,
        } = client;
        let failed = match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(InstallError::NoClient {
                    program,
                    remedy: brought_by,
                });
            }
            Err(error) => error.to_string(),
        };
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        Err(InstallError::Failed {
            command: words.join(" "),
            output: failed,
            needs: brought_by,
        })
    }
}

/// The folder of everything that is installed.
#[must_use]
pub fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/local");
    std::fs::create_dir_all(&folder).expect("target/local can be made");
    folder.canonicalize().expect("target/local is there")
}

/// Does something once, whichever process comes first; gives the folder in which it was done.
pub fn once(name: &str, install: impl FnOnce(&Path) -> Result<(), InstallError>) -> PathBuf {
    let folder = folder();
    let lock = File::create(folder.join(format!("{name}.lock"))).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    let done = folder.join(format!("{name}.done"));
    let place = folder.join(name);
    if !done.exists() {
        if let Err(error) = install(&place) {
            panic!("the end-to-end tests need {name}, and it could not be installed: {error}");
        }
        File::create(&done).expect("the installation can be noted");
    }
    place
}

/// A folder of npm packages; see `packages/README.md`.
///
/// # Panics
///
/// On another system than Linux on x86-64, for which there are no such programs.
#[must_use]
pub fn npm(name: &str) -> PathBuf {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        panic!("{name} is there for Linux on x86-64 only; tests/README.md: leave this test out");
    }
    let locked = Path::new(PACKAGES).join(name);
    let place = versioned(name, &locked.join("package-lock.json"));
    once(&place, |place| Installer::default().npm(&locked, place)).join("node_modules")
}

/// A virtual environment of Python with packages in it; see `packages/README.md`.
#[must_use]
pub fn python(name: &str) -> PathBuf {
    let locked = Path::new(PACKAGES).join(format!("{name}.txt"));
    let place = versioned(name, &locked);
    once(&place, |place| Installer::default().python(&locked, place))
}

/// The folder of Chromium and its libraries, unpacked from its npm package by a Python that has
/// brotli.
#[must_use]
pub fn chromium(python: &Path) -> PathBuf {
    let packed = npm("chromium").join("@sparticuz/chromium/bin");
    let lock = Path::new(PACKAGES).join("chromium/package-lock.json");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/support/unpack.py");
    once(&versioned("unpacked-chromium", &lock), |place| {
        let mut unpack = Command::new(python);
        unpack.arg(script).arg(&packed).arg(place);
        Installer::default().run(PYTHON, unpack)
    })
}

/// A name that changes when anything in the lock file does, so that what is installed is never
/// older than the lock.
fn versioned(name: &str, lock: &Path) -> String {
    let lock = std::fs::read(lock).expect("a lock file can be read");
    let digest = Sha256::digest(lock);
    let short: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name}-{short}")
}
