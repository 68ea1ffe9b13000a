//! What the package is built with, and what is not packed because Lambda could not start it.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use super::*;

/// Numbers of machines in an ELF file.
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// The smallest ELF program that needs one version of a symbol.
fn elf(machine: u16, version: &str) -> Vec<u8> {
    let strings = [b"\0libc.so.6\0".as_slice(), version.as_bytes(), b"\0"].concat();
    let at_strings = 64 + 2 * 56;
    let at_versions = at_strings + strings.len();
    let at_dynamic = at_versions + 32;
    let (dynamic_len, end) = (5 * 16, at_dynamic + 5 * 16);
    let word = |number: usize| u64::try_from(number).unwrap().to_le_bytes();
    let half = |number: u32| number.to_le_bytes();
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for short in [3, machine] {
        out.extend(short.to_le_bytes());
    }
    out.extend(half(1));
    for long in [0, 64, 0] {
        out.extend(word(long));
    }
    out.extend(half(0));
    for short in [64_u16, 56, 2, 0, 0, 0] {
        out.extend(short.to_le_bytes());
    }
    // Everything is loaded at address 0; the dynamic section is a part of it.
    for (kind, at, len) in [(1, 0, end), (2, at_dynamic, dynamic_len)] {
        out.extend(half(kind));
        out.extend(half(4));
        for long in [at, at, at, len, len, 8] {
            out.extend(word(long));
        }
    }
    out.extend(&strings);
    // One library, and one version of it, whose name begins behind that of the library.
    for short in [1_u16, 1] {
        out.extend(short.to_le_bytes());
    }
    for number in [1, 16, 0, 0, 0, 11, 0] {
        out.extend(half(number));
    }
    let tags = [
        (5, at_strings),
        (10, strings.len()),
        (0x6fff_fffe, at_versions),
        (0x6fff_ffff, 1),
        (0, 0),
    ];
    for (tag, value) in tags {
        out.extend(word(tag));
        out.extend(word(value));
    }
    assert_eq!(out.len(), end);
    out
}

/// What packing a file for an architecture says; nothing when it is packed.
fn refused(bytes: &[u8], architecture: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (binary, zip) = (folder.path().join("bootstrap"), folder.path().join("b.zip"));
    fs::write(&binary, bytes).unwrap();
    let mut python = Command::new("python3");
    python.arg(root().join("infra/zip.py"));
    let output = python
        .args([&binary, &zip])
        .arg(architecture)
        .output()
        .unwrap();
    assert_eq!(output.status.success(), zip.exists());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_lambda_could_not_start_is_not_packed() {
    for version in ["GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_PRIVATE", "GCC_4.2.0"] {
        assert_eq!(refused(&elf(X86_64, version), "x86_64"), "", "{version}");
    }
    assert_eq!(refused(&elf(AARCH64, "GLIBC_2.17"), "arm64"), "");
    let damaged = {
        let mut bytes = elf(X86_64, "GLIBC_2.34");
        bytes.truncate(150);
        bytes
    };
    let mac = [b"\xcf\xfa\xed\xfe".as_slice(), &[0; 100]].concat();
    let rows: [(&[u8], &str, &str, &str); 7] = [
        (
            &mac,
            "x86_64",
            "macOS (Mach-O)",
            "infra/package x86_64 --zig",
        ),
        (&mac, "arm64", "macOS (Mach-O)", "infra/package arm64 --zig"),
        (
            b"MZ\x90\0",
            "x86_64",
            "Windows",
            "infra/package x86_64 --zig",
        ),
        (
            b"#!/bin/sh\n",
            "x86_64",
            "not a 64-bit ELF program",
            "infra/package",
        ),
        (
            &elf(AARCH64, "GLIBC_2.17"),
            "x86_64",
            "is for arm64, and the package is for x86_64",
            "infra/package x86_64",
        ),
        (
            &elf(X86_64, "GLIBC_2.35"),
            "x86_64",
            "needs glibc 2.35, and Amazon Linux 2023 has 2.34",
            "infra/package x86_64 --zig",
        ),
        (&damaged, "x86_64", "damaged", ""),
    ];
    for (bytes, architecture, why, remedy) in rows {
        let said = refused(bytes, architecture);
        assert!(said.contains(why) && said.contains(remedy), "{why}: {said}");
    }
}

/// A machine with programs in place of Rust: `infra/package` in a folder of its own.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// One that builds for a host, and whose `cargo` builds this program and writes down what it
    /// was asked.
    fn of(host: &str, built: &[u8], programs: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        for name in ["infra", "bin", "lib"] {
            fs::create_dir(place.join(name)).unwrap();
        }
        for name in ["package", "zip.py"] {
            fs::copy(
                root().join("infra").join(name),
                place.join("infra").join(name),
            )
            .unwrap();
        }
        fs::write(place.join("built"), built).unwrap();
        let rustc = format!(
            "#!/bin/sh\ncase \"$1\" in\n-vV) echo 'host: {host}' ;;\n*) echo {} ;;\nesac\n",
            place.join("lib").display()
        );
        let cargo = "#!/bin/sh\necho \"$@\" > asked\ntarget=\n\
            case \"$3\" in *.2.34) target=\"${3%.2.34}/\" ;; esac\n\
            mkdir -p \"target/package/${target}release\"\n\
            cp built \"target/package/${target}release/bootstrap\"\n";
        for (name, text) in [
            ("rustc", rustc.as_str()),
            ("cargo", cargo),
            ("cargo-zigbuild", ""),
        ] {
            if programs.contains(&name) {
                let path = place.join("bin").join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        Self { folder }
    }

    fn package(&self, args: &[&str]) -> Output {
        let usual = std::env::var_os("PATH").unwrap();
        // Without a cargo-zigbuild of this machine.
        let others = std::env::split_paths(&usual).filter(|path| {
            let zig = path.join("cargo-zigbuild");
            !zig.exists()
        });
        let own = self.folder.path().join("bin");
        let path = std::env::join_paths(std::iter::once(own).chain(others)).unwrap();
        let mut package = Command::new("bash");
        package
            .arg(self.folder.path().join("infra/package"))
            .args(args)
            .env("PATH", path)
            .env_remove("RUSTFLAGS");
        package.output().unwrap()
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default()
    }

    fn zip(&self) -> bool {
        let zip = self.folder.path().join("target/lambda/bootstrap.zip");
        zip.exists()
    }
}

const LINUX: &str = "x86_64-unknown-linux-gnu";
const MAC: &str = "aarch64-apple-darwin";

#[test]
fn a_host_builds_for_itself_and_for_others_through_zig() {
    let (intel, arm) = (elf(X86_64, "GLIBC_2.34"), elf(AARCH64, "GLIBC_2.34"));
    let machine = Machine::of(LINUX, &intel, &["rustc", "cargo"]);
    let output = machine.package(&[]);
    assert!(output.status.success() && machine.zip(), "{output:?}");
    assert!(machine.asked().starts_with("build --release --locked"));

    let with_zig = ["rustc", "cargo", "cargo-zigbuild"];
    let arm_target = "aarch64-unknown-linux-gnu.2.34";
    let intel_target = "x86_64-unknown-linux-gnu.2.34";
    let rows: [(&str, &[u8], &[&str], &str); 4] = [
        (LINUX, &arm, &["arm64"], arm_target),
        (MAC, &intel, &[], intel_target),
        (MAC, &arm, &["arm64"], arm_target),
        // From a newer Linux.
        (LINUX, &intel, &["x86_64", "--zig"], intel_target),
    ];
    for (host, built, args, target) in rows {
        let machine = Machine::of(host, built, &with_zig);
        let output = machine.package(args);
        assert!(output.status.success() && machine.zip(), "{output:?}");
        let asked = format!("zigbuild --target {target} --release --locked");
        assert!(machine.asked().starts_with(&asked), "{}", machine.asked());
    }
}

#[test]
fn a_host_that_cannot_build_says_what_to_do() {
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let newer = elf(X86_64, "GLIBC_2.38");
    let machine = Machine::of(LINUX, &newer, &["rustc", "cargo"]);
    let output = machine.package(&[]);
    assert!(!output.status.success() && !machine.zip());
    assert!(
        said(&output).contains("infra/package x86_64 --zig"),
        "{output:?}"
    );

    // Before anything is built.
    let rows: [(&str, &[&str], &str); 4] = [
        (MAC, &[], "`pip install cargo-zigbuild`"),
        (
            LINUX,
            &["arm64"],
            "`rustup target add aarch64-unknown-linux-gnu`",
        ),
        (LINUX, &["--zig"], "there is no cargo-zigbuild here"),
        (
            LINUX,
            &["aarch64"],
            "usage: infra/package [x86_64|arm64] [--zig]",
        ),
    ];
    for (host, args, remedy) in rows {
        let machine = Machine::of(host, &newer, &["rustc", "cargo"]);
        let output = machine.package(args);
        assert!(!output.status.success() && !machine.zip(), "{output:?}");
        assert!(said(&output).contains(remedy), "{output:?}");
        assert_eq!(machine.asked(), "");
    }
    // No standard library for the target.
    let machine = Machine::of(LINUX, &newer, &["rustc", "cargo", "cargo-zigbuild"]);
    fs::remove_dir(machine.folder.path().join("lib")).unwrap();
    let output = machine.package(&["arm64"]);
    assert!(said(&output).contains("Rust has no standard library for it here"));
    assert_eq!(machine.asked(), "");
}
