//! How much of its work the function holds in memory at a time, by the memory that it has.

/// What Lambda calls the memory of a function, in MB.
pub const MEMORY_SIZE: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// Memory in MB where Lambda says nothing: the default of the template.
const DEFAULT_MB: usize = 512;

/// The least and the most that is reckoned with, in MB: what Lambda offers.
const LAMBDA_MB: [usize; 2] = [128, 10_240];

/// How much of its work the function holds in memory at a time.
///
/// An observation takes about 9 KB until it is stored and judged: 220 MB for 20,000, measured when
/// they were all in memory together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Observations of objects that are stored and judged together.
    pub observations: usize,
    /// Facts of windows that are read together.
    pub facts: usize,
    /// Pending events that are finalised together.
    pub due: usize,
    /// Groups of windows, and finalised events, that wait until windows are read.
    pub open: usize,
    /// Bytes of objects, as they are stored, in KiB.
    pub objects_kib: u32,
}

impl MemoryBudget {
    /// The budget of a function with so many MB; of the default without a number.
    #[must_use]
    pub fn of(memory_size: Option<&str>) -> Self {
        let size = memory_size.and_then(|size| size.trim().parse().ok());
        let [least, most] = LAMBDA_MB;
        let mb: usize = size.unwrap_or(DEFAULT_MB).clamp(least, most);
        Self {
            observations: mb * 8,
            facts: mb * 32,
            due: mb * 8,
            open: mb * 64,
            objects_kib: u32::try_from(mb * 1_024 / 4).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_grows_with_the_memory_and_is_never_nothing() {
        let observations = |size| MemoryBudget::of(size).observations;
        assert_eq!(observations(Some("512")), 4_096);
        assert_eq!(observations(Some("1024")), 8_192);
        assert_eq!(MemoryBudget::of(Some("512")).objects_kib, 128 * 1_024);
        for unknown in [None, Some(""), Some("much")] {
            assert_eq!(MemoryBudget::of(unknown), MemoryBudget::of(Some("512")));
        }
        assert_eq!(observations(Some("0")), 1_024);
        assert_eq!(observations(Some("9999999")), 81_920);
    }
}
