//! Colours in the terminal.

use anstyle::{AnsiColor, Style};
use secretrail_engine::rule_meta::RuleLevel;

/// The style of a level; plain if the output is not coloured.
#[must_use]
pub fn level_style(level: RuleLevel, is_coloured: bool) -> Style {
    let style = Style::new().bold();
    match level {
        _ if !is_coloured => Style::new(),
        RuleLevel::Critical => style.fg_color(Some(AnsiColor::BrightRed.into())),
        RuleLevel::High => style.fg_color(Some(AnsiColor::Red.into())),
        RuleLevel::Medium => style.fg_color(Some(AnsiColor::Yellow.into())),
        RuleLevel::Low => style.fg_color(Some(AnsiColor::Cyan.into())),
        RuleLevel::Informational => style,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_are_no_escapes_at_all() {
        for level in RuleLevel::ALL {
            assert_eq!(level_style(level, false).to_string(), "");
            assert_ne!(level_style(level, true).to_string(), "");
        }
    }
}
