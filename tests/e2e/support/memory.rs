//! A limit of memory that the kernel keeps for one process, as Lambda's does.
//!
//! Source: Linux kernel documentation, "Control Group v2" (`memory.max`) and "Memory Resource
//! Controller" of version 1 (`memory.limit_in_bytes`), checked 2026-11.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// Where groups of a version are made, what limits them, and what limits their swap: with the memory
/// in the first version, alone in the second.
const VERSIONS: [(&str, &str, &str, bool); 2] = [
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        true,
    ),
    ("/sys/fs/cgroup", "memory.max", "memory.swap.max", false),
];

/// A control group with a limit of memory. It is removed when it is dropped, after its process.
pub struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// A group whose processes are killed when they take more than this, in bytes. None where this
    /// machine lets the test make none.
    #[must_use]
    pub fn of(bytes: u64) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("secretrail-test-{}-{number}", std::process::id());
        VERSIONS
            .iter()
            .find_map(|(groups, limit, swap, with_memory)| {
                let folder = Path::new(groups).join(&name);
                fs::create_dir(&folder).ok()?;
                let group = Self(folder);
                fs::write(group.0.join(limit), bytes.to_string()).ok()?;
                // Not every kernel counts swap.
                let most = if *with_memory { bytes } else { 0 };
                fs::write(group.0.join(swap), most.to_string()).ok();
                Some(group)
            })
    }

    /// A command that runs the binary within the group from its first instruction on.
    #[must_use]
    pub fn command(&self, binary: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ > \"$1\" && exec \"$2\"", "sh"]);
        command.arg(self.0.join("cgroup.procs")).arg(binary);
        command
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}
