//! A guard before the YAML parser. The time that the parser takes grows with the square of how deep
//! `[` and `{` are nested, and the size of what it reads with what aliases (`*name`) repeat.

mod flow;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use self::flow::is_nested_too_deep;
use crate::limits::{YAML_EXPANDED, YAML_NESTING};

/// Why a text is not given to the YAML parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum YamlFault {
    /// Brackets within brackets.
    #[error("`[` and `{{` are nested more than {YAML_NESTING} deep; close them, or write fewer")]
    TooDeep {
        /// Line, from 1, on which the outermost begins.
        line: usize,
    },
    /// Aliases of aliases.
    #[error(
        "its aliases (`*name`) repeat more than {YAML_EXPANDED} values; write out what is meant"
    )]
    TooLarge,
}

impl YamlFault {
    /// Line, from 1; `None` when it is not known.
    #[must_use]
    pub fn line(self) -> Option<usize> {
        match self {
            Self::TooDeep { line } => Some(line),
            Self::TooLarge => None,
        }
    }
}

/// Refuses what would keep the parser busy for minutes, or fill the memory. What is no YAML at all
/// is left to the parser.
///
/// # Errors
///
/// [`YamlFault`].
pub(crate) fn check(text: &str) -> Result<(), YamlFault> {
    if let Some(line) = is_nested_too_deep(text) {
        return Err(YamlFault::TooDeep { line });
    }
    // Without both there are no aliases.
    if text.contains('&') && text.contains('*') && expands_too_far(text) {
        return Err(YamlFault::TooLarge);
    }
    Ok(())
}

/// Whether the aliases of a document repeat too much.
fn expands_too_far(text: &str) -> bool {
    for document in yaml_serde::Deserializer::from_str(text) {
        // Every value that is written has a character of its own.
        let mut left = text.len().saturating_add(YAML_EXPANDED);
        if ValueCount(&mut left).deserialize(document).is_err() {
            return left == 0;
        }
    }
    false
}

/// Counts the values that a deserializer gives, aliases as what they stand for, and keeps none.
struct ValueCount<'c>(&'c mut usize);

impl ValueCount<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        *self.0 = self.0.saturating_sub(1);
        match *self.0 {
            0 => Err(E::custom("too many values")),
            _ => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueCount<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueCount<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.count()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.count()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.count()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.count()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.count()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.count()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.count()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.count()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(ValueCount(&mut *self.0))?.is_some() {}
        self.count()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key_seed(ValueCount(&mut *self.0))?.is_some() {
            entries.next_value_seed(ValueCount(&mut *self.0))?;
        }
        self.count()
    }

    // A value with a tag, as in `!name value`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant_seed(std::marker::PhantomData::<Tag>)?;
        value.newtype_variant_seed(self)
    }
}

/// The name of a tag, which is not used.
struct Tag;

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(IgnoredAny)?;
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_may_repeat_much_but_not_everything() {
        let list = |length: usize| "x, ".repeat(length);
        // A list of a thousand values, a hundred times: a template, not an attack.
        let some = format!("a: &a [{}]\nb: [{}]\n", list(1_000), "*a, ".repeat(100));
        assert_eq!(check(&some), Ok(()));
        let many = format!("a: &a [{}]\nb: [{}]\n", list(5_000), "*a, ".repeat(5_000));
        assert_eq!(check(&many), Err(YamlFault::TooLarge));
        // Aliases of aliases, ten times as many on each line.
        let mut bomb = "a0: &a0 [x]\n".to_owned();
        for level in 1..8 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        // The parser itself refuses what refers ten million times.
        assert!(
            check(&bomb) == Err(YamlFault::TooLarge)
                || yaml_serde::from_str::<yaml_serde::Value>(&bomb).is_err()
        );
    }

    #[test]
    fn tags_numbers_and_broken_texts_are_left_to_the_parser() {
        for text in [
            "a: &a !t x\nb: *a\n",
            "a: &a !t [1, 2.5, true, ~]\nb: {c: *a}\n",
            "a: &a 340282366920938463463374607431768211455\nb: *a\n",
            "a: &a x\nb: *other\n",
            "a: &a [\nb: *a",
            "--- &a x\n--- *a\n",
            "",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
