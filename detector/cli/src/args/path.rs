//! Kinds of paths on the command line, distinguished by their syntax alone.

use std::path::Path;

/// Whether a path is `-`, standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Bucket and prefix of `s3://bucket/prefix`; `None` for any other path.
#[must_use]
pub fn bucket_and_prefix(path: &Path) -> Option<(String, String)> {
    let rest = path.to_str()?.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Some((bucket.to_owned(), prefix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_s3_is_known_by_its_scheme() {
        let parts = |path: &str| bucket_and_prefix(Path::new(path));
        let both = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(parts("s3://logs/AWSLogs/1"), both("logs", "AWSLogs/1"));
        assert_eq!(parts("s3://logs"), both("logs", ""));
        assert_eq!(parts("s3://"), both("", ""));
        assert_eq!(parts("logs/s3://x"), None);
        assert!(is_stdin(Path::new("-")) && !is_stdin(Path::new("./-")));
    }
}
