//! Colours of the terminal.

use anstyle::{AnsiColor, Style};
use secretrail_engine::rule_meta::Level;

/// The style of a level; plain where the output is not coloured.
#[must_use]
pub fn level_style(level: Level, is_coloured: bool) -> Style {
    let style = Style::new().bold();
    match level {
        _ if !is_coloured => Style::new(),
        Level::Critical => style.fg_color(Some(AnsiColor::BrightRed.into())),
        Level::High => style.fg_color(Some(AnsiColor::Red.into())),
        Level::Medium => style.fg_color(Some(AnsiColor::Yellow.into())),
        Level::Low => style.fg_color(Some(AnsiColor::Cyan.into())),
        Level::Informational => style,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_are_no_escapes_at_all() {
        for level in Level::ALL {
            assert_eq!(level_style(level, false).to_string(), "");
            assert_ne!(level_style(level, true).to_string(), "");
        }
    }
}
