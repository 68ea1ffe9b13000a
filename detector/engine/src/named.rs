//! Values of closed sets, by the names that they have in JSON.

/// The value with this name; `None` when none has it.
pub(crate) fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|value| name(*value) == text)
}
