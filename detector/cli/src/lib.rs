//! The offline front end: arguments to settings, settings to a run. [`run`] is the whole command
//! without its process, so that tests can call it.
//!
//! A module imports only from modules declared above it: exit codes and process, arguments, input,
//! output, the services of AWS
//! and deployments in it, commands. Commands do not import each other.

pub mod exit;
pub mod host;

mod temp_file;
mod text;

pub mod args;
pub mod input;
pub mod output;

#[cfg(feature = "s3")]
pub mod aws_api;
#[cfg(feature = "s3")]
pub mod deployment;

pub mod commands;

pub mod run;
