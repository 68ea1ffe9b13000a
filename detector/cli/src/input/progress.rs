//! Progress bars on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::object::InputObject;
use crate::args::settings::RunSettings;

/// A bar over the stored bytes to read, with the estimated time left; hidden if the settings ask
/// for none.
#[must_use]
pub fn bytes_bar(settings: &RunSettings, objects: &[InputObject]) -> ProgressBar {
    if !settings.show_progress {
        return ProgressBar::hidden();
    }
    bar(
        objects.iter().map(InputObject::size).sum(),
        "{bar:30} {bytes} of {total_bytes}, {eta} left",
    )
}

/// A bar over the extract files of a backfill job; hidden unless `is_shown`.
#[must_use]
pub fn parts_bar(parts: u64, is_shown: bool) -> ProgressBar {
    if is_shown {
        bar(
            parts,
            "{bar:30} {pos} of {len} extract files, {msg}, {per_sec}, {eta} left",
        )
    } else {
        ProgressBar::hidden()
    }
}

/// A bar over what is written to a table; hidden unless `is_shown`.
#[cfg(feature = "s3")]
#[must_use]
pub fn items_bar(items: u64, is_shown: bool) -> ProgressBar {
    if is_shown {
        bar(items, "{bar:30} {pos} of {len} merged, {eta} left")
    } else {
        ProgressBar::hidden()
    }
}

/// A counter of the objects that a plan has found; hidden unless `is_shown`.
#[must_use]
pub fn listing_bar(is_shown: bool) -> ProgressBar {
    if is_shown {
        bar(0, "{spinner} {human_pos} objects listed, {per_sec}")
    } else {
        ProgressBar::hidden()
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
