//! The offline front end: arguments to settings, settings to a run. [`run`] is the whole command
//! without its process, so that tests can call it.
//!
//! The modules stand from the ground up, and imports point back along this order: what a run has
//! from its process, what was typed, what is read, what is written, and the commands, which know
//! all of these and nothing of each other.

pub mod exit;
pub mod host;

mod text;

pub mod args;
pub mod input;
pub mod output;

pub mod commands;

pub mod run;
