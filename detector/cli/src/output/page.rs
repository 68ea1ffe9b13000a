//! Self-contained pages for a browser, without network access: `replay -f html` and `baseline
//! --review`.
//!
//! The script of a page renders the embedded data. Every text is sanitised before and set as text
//! there; a Content-Security-Policy allows only the script and the style of this build
//! (<https://www.w3.org/TR/CSP3/>).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::host::RunFailure;

/// What a page is made of, beside its data.
pub(super) struct PageTemplate {
    pub(super) title: &'static str,
    /// HTML of the body, without data and scripts.
    pub(super) body: &'static str,
    pub(super) styles: &'static [&'static str],
    pub(super) scripts: &'static [&'static str],
}

/// The document, with a mark for each part of a page.
const FRAME: &str = include_str!("page/frame.html");

/// The elements that scripts of pages make.
pub(super) const ELEMENTS: &str = include_str!("page/elements.js");

/// The style that all pages share.
pub(super) const STYLE: &str = include_str!("page/style.css");

impl PageTemplate {
    /// The page with its data.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Internal`]: a bug in Secretrail.
    pub(super) fn with(&self, data: &impl Serialize) -> Result<String, RunFailure> {
        let data =
            serde_json::to_string(data).map_err(|error| RunFailure::Internal(error.to_string()))?;
        // Only `<` can end a script element; U+2028 and U+2029 have been sanitised.
        let data = data.replace('<', "\\u003c");
        let (style, script) = (self.styles.concat(), self.scripts.concat());
        // Only the script and style of this build are allowed: text from a log that ended up in the
        // page as HTML would still not run.
        let csp = format!(
            "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
            allowed(&script),
            allowed(&style)
        );
        let parts = [
            ("<!--CSP-->", &*csp),
            ("<!--TITLE-->", self.title),
            ("<!--STYLE-->", &style),
            ("<!--BODY-->", self.body),
            ("<!--DATA-->", &data),
            ("<!--SCRIPT-->", &script),
        ];
        fill(FRAME, &parts).map_err(|mark| RunFailure::Internal(format!("no {mark} in the page")))
    }
}

/// The template with the texts in place of their marks, which must occur in this order; otherwise
/// the missing mark. Marks inside the texts are not replaced.
fn fill<'m>(template: &str, parts: &[(&'m str, &str)]) -> Result<String, &'m str> {
    let length: usize = parts.iter().map(|(_, text)| text.len()).sum();
    let mut page = String::with_capacity(template.len() + length);
    let mut rest = template;
    for (mark, text) in parts {
        let (before, after) = rest.split_once(*mark).ok_or(*mark)?;
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// The CSP source expression that allows exactly this text.
pub(super) fn allowed(text: &str) -> String {
    format!(
        "'sha256-{}'",
        STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_a_mark_in_it_is_a_text() {
        let parts = [("<a>", "<b>"), ("<b>", "x"), ("<c>", "y<b>"), ("<d>", "z")];
        assert_eq!(
            fill("<a>,<b>,<c>,<d>!", &parts).as_deref(),
            Ok("<b>,x,y<b>,z!")
        );
        assert_eq!(fill("<a>,<c>,<d>", &parts), Err("<b>"));
    }

    #[test]
    fn pages_have_their_marks_in_order() {
        for page in [super::super::report::PAGE, super::super::review::PAGE] {
            let html = page.with(&()).unwrap();
            let marks = ["<!--CSP-->", "<!--STYLE-->", "<!--DATA-->", "<!--SCRIPT-->"];
            assert!(marks.iter().all(|mark| !html.contains(mark)));
            assert!(!html.contains("<!--TITLE-->") && !html.contains("<!--BODY-->"));
        }
    }
}
