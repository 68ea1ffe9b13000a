//! Lookup of enum values by their names in JSON.

/// The value with this name; `None` when there is none.
pub(crate) fn parse_enum<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Option<T> {
    all.iter().copied().find(|value| name(*value) == text)
}
