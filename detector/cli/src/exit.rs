//! Exit codes of the command. When several apply, the highest below 64 is returned: an input error
//! takes precedence over findings.

/// The command succeeded.
pub const DONE: u8 = 0;
/// There are findings, such as alerts at or above `--fail-on` or altered logs.
pub const FINDINGS: u8 = 1;
/// A rule or the access policy is invalid; nothing was read.
pub const RULES: u8 = 2;
/// `doctor` could not look at the deployment, or `send-test` could not test it.
pub const NOT_CHECKED: u8 = 2;
/// Some input could not be read, or there was none; what could be read was reported.
pub const INPUT: u8 = 3;
/// The command line is invalid (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;
/// The output, or a temporary file, could not be written; no output file remains (`EX_IOERR` of
/// sysexits.h).
pub const OUTPUT: u8 = 74;
