//! Refuses to write over what is read: evidence, rules and the policy.

use std::path::Path;

use same_file::Handle;
use secretrail_engine::{object, report::SkippedObject};

use crate::{
    args::path::is_stdin,
    host::RunFailure,
    input::object::{InputObject, ObjectPlace},
};

/// Checks that the output is none of these files, by any of its names.
///
/// # Errors
///
/// [`RunFailure::Usage`]: it is one of them.
pub fn refuse<'p>(
    output: Option<&Path>,
    inputs: impl IntoIterator<Item = &'p Path>,
) -> Result<(), RunFailure> {
    // A file that does not exist yet is no input, and `/dev/stdout` may be where logs come from.
    let existing = output.filter(|path| path.is_file());
    let Some((output, handle)) =
        existing.and_then(|path| Some((path, Handle::from_path(path).ok()?)))
    else {
        return Ok(());
    };
    for input in inputs {
        if is_lost(input, output, &handle) {
            let name = if is_stdin(input) {
                "standard input".to_owned()
            } else {
                input.display().to_string()
            };
            return Err(RunFailure::Usage(format!(
                "--output {} is the same file as {name}, which would be lost; choose another file",
                output.display(),
            )));
        }
    }
    Ok(())
}

/// Whether the output is this input, or a file in this folder of inputs that may be one: also those
/// that this run does not read are evidence, or rules.
fn is_lost(input: &Path, output: &Path, handle: &Handle) -> bool {
    if is_stdin(input) {
        return Handle::stdin().is_ok_and(|input| input == *handle);
    }
    // What cannot be looked at is reported when it is read.
    let Ok(meta) = std::fs::metadata(input) else {
        return false;
    };
    if meta.is_dir() {
        let (Ok(folder), Ok(output)) = (input.canonicalize(), output.canonicalize()) else {
            return false;
        };
        let name = output.to_string_lossy();
        let skipped = SkippedObject::by_name(&object::parse(&name), &name);
        return output.starts_with(folder) && skipped != Some(SkippedObject::NotALog);
    }
    // A pipe must not be opened twice.
    meta.is_file() && Handle::from_path(input).is_ok_and(|input| input == *handle)
}

/// The files among objects.
pub fn files(objects: &[InputObject]) -> impl Iterator<Item = &Path> {
    objects.iter().filter_map(|object| match &object.place {
        ObjectPlace::File(path) => Some(path.as_path()),
        ObjectPlace::S3(_) | ObjectPlace::Stdin => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_not_written_over_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["log.json", "other.json"] {
            std::fs::write(at(name), "{}").unwrap();
        }
        std::fs::hard_link(at("log.json"), at("hard.json")).unwrap();
        let log = at("log.json");
        for output in ["log.json", "hard.json", "./log.json"] {
            let failure = refuse(Some(&at(output)), [log.as_path()]).unwrap_err();
            assert_eq!(failure.exit_code(), crate::exit::USAGE);
            let text = failure.to_string();
            assert!(text.contains("log.json, which would be lost"), "{text}");
        }
        for output in ["other.json", "new.json", "/dev/null"] {
            refuse(Some(&at(output)), [log.as_path()]).unwrap();
        }
        refuse(None, [log.as_path()]).unwrap();
        // In a folder of logs, whatever may be one; a report is none.
        std::fs::write(at("report.html"), "").unwrap();
        assert!(refuse(Some(&at("other.json")), [folder.path()]).is_err());
        refuse(Some(&at("report.html")), [folder.path()]).unwrap();
    }
}
