//! Exit codes of the command, one documented constant each. When several apply, the highest below
//! 64 is given.

/// Everything that was asked for was done.
pub const DONE: u8 = 0;
/// There are alerts at or above `--fail-on`.
pub const FINDINGS: u8 = 1;
/// A rule or the access policy cannot be used; nothing was read.
pub const RULES: u8 = 2;
/// Some input could not be read, or there was none; what could be read has been reported.
pub const INPUT: u8 = 3;
/// The command line cannot be understood (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;
/// The output could not be written; no output file was left (`EX_IOERR` of sysexits.h).
pub const OUTPUT: u8 = 74;
