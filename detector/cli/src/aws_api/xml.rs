//! XML answers as trees. Names are local: the namespaces of AWS carry only versions.

use std::borrow::Cow;

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, Event},
};

/// Deepest nesting that is read; answers of AWS have less than ten levels.
const DEEPEST: usize = 64;

/// An element with its text and children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XmlElement {
    /// Name without its namespace.
    pub name: String,
    text: String,
    children: Vec<XmlElement>,
}

impl XmlElement {
    /// Parses a document.
    ///
    /// # Errors
    ///
    /// Why it is not well-formed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            match event {
                Event::Start(_) if open.len() >= DEEPEST => {
                    return Err("it is nested too deeply".to_owned());
                }
                Event::Start(tag) => open.push(Self::named(tag.local_name().as_ref())),
                Event::Empty(tag) => close(&mut open, Self::named(tag.local_name().as_ref())),
                Event::End(_) => {
                    if let Some(element) = open.pop() {
                        close(&mut open, element);
                    }
                }
                Event::Eof => break,
                event => {
                    let text = text_of(&event)?;
                    push(&mut open, &text);
                }
            }
        }
        let mut document = open.pop().unwrap_or_default();
        // An element that is still open was cut.
        if !open.is_empty() || document.children.len() != 1 {
            return Err("it ends early, or has no root".to_owned());
        }
        Ok(document.children.pop().unwrap_or_default())
    }

    fn named(name: &[u8]) -> Self {
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            ..Self::default()
        }
    }

    /// The first child of a name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first child of a name; an empty element if there is none.
    #[must_use]
    pub fn into_child(self, name: &str) -> Self {
        let mut children = self.children.into_iter();
        children
            .find(|child| child.name == name)
            .unwrap_or_default()
    }

    /// The text of a child; `None` if there is none, or it is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text.trim();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The text of a child; empty if there is none.
    #[must_use]
    pub fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// The elements of a list: the children of a child, which the query protocol names `member`.
    #[must_use]
    pub fn members(&self, list: &str) -> &[Self] {
        self.child(list).map_or(&[], |list| &list.children)
    }

    /// The text of the element itself.
    #[must_use]
    pub fn own_text(&self) -> &str {
        self.text.trim()
    }
}

/// The text of an event; empty for comments and declarations.
fn text_of(event: &Event<'_>) -> Result<String, String> {
    let text = match event {
        Event::Text(text) => text.decode().map_err(|error| error.to_string())?,
        Event::CData(text) => String::from_utf8_lossy(text),
        Event::GeneralRef(reference) => return resolved(reference),
        _ => Cow::default(),
    };
    Ok(text.into_owned())
}

/// The text of a reference, as in `&amp;` and `&#233;`. AWS declares no others.
fn resolved(reference: &BytesRef<'_>) -> Result<String, String> {
    let number = reference.resolve_char_ref();
    if let Some(character) = number.map_err(|error| error.to_string())? {
        return Ok(character.to_string());
    }
    let name = reference.decode().map_err(|error| error.to_string())?;
    let known = resolve_predefined_entity(&name);
    known
        .map(str::to_owned)
        .ok_or_else(|| format!("&{name}; is not known"))
}

fn push(open: &mut [XmlElement], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn close(open: &mut [XmlElement], element: XmlElement) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_texts_and_references_are_read() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"http://sns.amazonaws.com/\"><L>\
            <member><A>x &amp; &#233;</A><B/></member><member><A> y </A></member></L></R>";
        let root = XmlElement::parse(text).unwrap();
        let members = root.members("L");
        let texts: Vec<_> = members.iter().map(|member| member.text("A")).collect();
        assert_eq!(texts, [Some("x & é"), Some("y")]);
        assert_eq!(members[0].text("B"), None);
        assert!(root.members("M").is_empty());
    }

    #[test]
    fn what_is_cut_or_nested_too_deeply_is_no_answer() {
        for text in ["", "<R><A>x</A>", "<R></A>", "plain", &"<a>".repeat(100)] {
            assert!(XmlElement::parse(text).is_err(), "{text}");
        }
    }
}
