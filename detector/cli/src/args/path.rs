//! Kinds of paths on the command line, distinguished by their syntax alone.

use std::path::Path;

/// Whether a path is `-`, standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path is standard output, by `-` or by the name of its device.
#[must_use]
pub fn is_stdout(path: &Path) -> bool {
    let names = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    names.iter().any(|name| path.as_os_str() == *name)
}

/// Bucket and prefix of `s3://bucket/prefix`; `None` for any other path.
#[must_use]
pub fn bucket_and_prefix(path: &Path) -> Option<(String, String)> {
    let rest = path.to_str()?.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Some((bucket.to_owned(), prefix.to_owned()))
}

/// What to write in place of a path that does not exist, judged by its syntax; `None` if it looks
/// like a path.
#[must_use]
pub fn hint(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    if let Some(rest) = without_scheme(text, &["s3://", "s3:/", "s3:", "s3a://", "s3n://"]) {
        return Some(format!("write s3://{}", rest.trim_start_matches('/')));
    }
    if let Some(rest) = without_scheme(text, &["arn:aws:s3:::"]) {
        return Some(format!("write s3://{rest}"));
    }
    if let Some(rest) = without_scheme(text, &["https://", "http://", "https:/", "http:/"]) {
        return Some(match of_address(rest) {
            Some(place) => format!("is a web address; write {place}"),
            None => "is a web address, and only files, folders and s3://bucket/prefix are read: \
                download it first"
                .to_owned(),
        });
    }
    text.contains(['*', '?', '[']).then(|| {
        "no file fits this pattern, so the shell did not replace it; name the folder".to_owned()
    })
}

/// The text after the first of these beginnings, in any case.
fn without_scheme<'t>(text: &'t str, schemes: &[&str]) -> Option<&'t str> {
    schemes.iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// `s3://bucket/prefix` for an address of S3 or of its console, without the scheme; `None` for any
/// other.
fn of_address(address: &str) -> Option<String> {
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let host = host.strip_suffix(".cn").unwrap_or(host);
    if host.contains("console.") {
        let bucket = path
            .split_once("buckets/")
            .or(path.split_once("object/"))?
            .1
            .trim_end_matches('/');
        let mut parameters = query.split('&');
        let prefix = parameters.find_map(|pair| pair.strip_prefix("prefix="));
        let prefix = prefix.unwrap_or_default().replace("%2F", "/");
        return Some(format!("s3://{bucket}/{prefix}"));
    }
    let name = host.strip_suffix(".amazonaws.com")?;
    // `s3.eu-west-1`, `s3-eu-west-1` and `s3`: the bucket is in the path.
    if name == "s3" || name.starts_with("s3.") || name.starts_with("s3-") {
        return Some(format!("s3://{path}"));
    }
    let end = name.find(".s3.").or(name.find(".s3-"));
    let bucket = match end {
        Some(end) => name.get(..end)?,
        None => name.strip_suffix(".s3")?,
    };
    Some(format!("s3://{bucket}/{path}"))
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

    #[test]
    fn what_is_almost_a_path_in_s3_gets_the_path() {
        for (path, place) in [
            ("s3:/logs/AWSLogs", "s3://logs/AWSLogs"),
            ("s3:logs/AWSLogs", "s3://logs/AWSLogs"),
            ("S3://logs/AWSLogs", "s3://logs/AWSLogs"),
            ("arn:aws:s3:::logs/AWSLogs", "s3://logs/AWSLogs"),
            (
                "https://logs.s3.eu-west-1.amazonaws.com/AWSLogs/1",
                "s3://logs/AWSLogs/1",
            ),
            (
                "https://my.logs.s3.amazonaws.com/AWSLogs/1?x=y",
                "s3://my.logs/AWSLogs/1",
            ),
            (
                "https://s3.eu-west-1.amazonaws.com/logs/AWSLogs",
                "s3://logs/AWSLogs",
            ),
            (
                "https://logs.s3.cn-north-1.amazonaws.com.cn/a",
                "s3://logs/a",
            ),
            (
                "https://s3.console.aws.amazon.com/s3/buckets/logs?region=eu-west-1&prefix=AWSLogs/",
                "s3://logs/AWSLogs/",
            ),
            (
                "https://eu-west-1.console.aws.amazon.com/s3/buckets/logs?prefix=a%2Fb%2F",
                "s3://logs/a/b/",
            ),
        ] {
            let hint = hint(Path::new(path)).unwrap();
            assert!(hint.ends_with(&format!("write {place}")), "{path}: {hint}");
        }
        let other = hint(Path::new("https://example.com/logs.json")).unwrap();
        assert!(other.ends_with("download it first"), "{other}");
    }

    #[test]
    fn a_pattern_is_known_and_a_plain_path_needs_no_hint() {
        for pattern in ["logs/*.json.gz", "logs/2026-03-0?", "logs/[ab].json"] {
            assert!(hint(Path::new(pattern)).unwrap().contains("pattern"));
        }
        assert_eq!(hint(Path::new("logs/a.json")), None);
        assert_eq!(hint(Path::new("s3")), None);
    }
}
