//! `man`: the manual pages of the command and of each subcommand.

use clap::CommandFactory;

use crate::{
    args::CommandLine,
    exit,
    host::{ProcessHost, RunFailure, print},
};

/// Prints the manual pages and returns the exit code.
///
/// # Errors
///
/// [`RunFailure::Output`]: standard output could not be written.
pub fn run(host: &mut ProcessHost) -> Result<u8, RunFailure> {
    print(host, &manual()?).map(|()| exit::DONE)
}

fn manual() -> Result<String, RunFailure> {
    let mut page = Vec::new();
    let mut command = CommandLine::command();
    // Usage lines and inherited options of subcommands exist only after `build`.
    command.build();
    render(&command, &mut page)?;
    for subcommand in command.get_subcommands() {
        if subcommand.get_name() != "help" {
            render(subcommand, &mut page)?;
        }
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn render(command: &clap::Command, page: &mut Vec<u8>) -> Result<(), RunFailure> {
    clap_mangen::Man::new(command.clone())
        .render(page)
        .map_err(|error| RunFailure::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_and_every_subcommand_have_a_page() {
        let pages = manual().unwrap().matches(".SH SYNOPSIS").count();
        assert_eq!(pages, 1 + CommandLine::command().get_subcommands().count());
    }
}
