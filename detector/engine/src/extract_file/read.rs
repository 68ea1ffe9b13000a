//! Reads extract files, record by record.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::{
    extract_file::{
        entry::ExtractEntry,
        header::{ExtractHeader, SCHEMA},
        line::{ExtractEnd, ExtractRecord, ParsedLine, RECORD},
        stretches::TOO_MANY,
    },
    limits::{EXTRACTED_OBJECTS, EXTRACTED_STRETCHES, EXTRACTED_TIMES},
};

/// Longest line in bytes: records are much shorter, but an object of many years and accounts may
/// have many coverage marks.
const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;

/// Why an extract file could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExtractFileError {
    /// It is truncated, or its bytes are damaged.
    #[error("the extract file is truncated or damaged ({0}); extract it again")]
    Broken(String),
    /// It claims more than an extract file may.
    #[error("the extract file claims {0}; extract its logs again in parts, by --from and --to")]
    TooMuch(String),
    /// It is something else, or has another version.
    #[error("is not an extract file that this version reads ({0}); it reads {SCHEMA}")]
    Foreign(String),
}

/// The inflated bytes of an object with extract files.
pub type Inflated<R> = BufReader<MultiGzDecoder<R>>;

/// Reads an extract file, record by record. [`Self::next_extract_file`] continues with the next one
/// in the same bytes.
pub struct ExtractFileReader<R> {
    source: R,
    line: Vec<u8>,
    /// What the file was made for.
    pub header: ExtractHeader,
    /// Its objects; callers may take them out.
    pub entries: Vec<ExtractEntry>,
    objects: usize,
    read: usize,
    /// Whether a line was read but not returned yet.
    held: bool,
    ended: bool,
}

impl<R: BufRead> ExtractFileReader<Inflated<R>> {
    /// Reads header and objects of the first extract file in an object, from its bytes as stored;
    /// `None` when there is none. Concatenated files follow with [`Self::next_extract_file`].
    ///
    /// # Errors
    ///
    /// See [`ExtractFileError`].
    pub fn inflating(stored: R) -> Result<Option<Self>, ExtractFileError> {
        Self::new(BufReader::new(MultiGzDecoder::new(stored)))
    }
}

impl<R: BufRead> ExtractFileReader<R> {
    /// Reads header and objects from inflated bytes; `None` at their end.
    ///
    /// # Errors
    ///
    /// See [`ExtractFileError`].
    pub fn new(source: R) -> Result<Option<Self>, ExtractFileError> {
        let reader = Self {
            source,
            line: Vec::new(),
            header: ExtractHeader::default(),
            entries: Vec::new(),
            objects: 0,
            read: 0,
            held: false,
            ended: false,
        };
        reader.next_extract_file()
    }

    /// Continues with the next extract file; `None` when there is none. The current file must have
    /// been read to its end.
    ///
    /// # Errors
    ///
    /// See [`ExtractFileError`].
    pub fn next_extract_file(mut self) -> Result<Option<Self>, ExtractFileError> {
        if !self.next_line()? {
            return Ok(None);
        }
        self.header = self.read_header()?;
        (self.entries, self.objects, self.read, self.ended) = (Vec::new(), 0, 0, false);
        self.read_entries()?;
        Ok(Some(self))
    }

    fn read_header(&self) -> Result<ExtractHeader, ExtractFileError> {
        // A line that is not a header is foreign too: another version may have other fields.
        let header: ExtractHeader = serde_json::from_slice(&self.line)
            .map_err(|error| ExtractFileError::Foreign(error.to_string()))?;
        if header.schema != SCHEMA {
            return Err(ExtractFileError::Foreign(header.schema));
        }
        // The span moves the clock of a run.
        let is_usual = header.span.is_none_or(|(first, last)| {
            first <= last && EXTRACTED_TIMES.contains(&first) && EXTRACTED_TIMES.contains(&last)
        });
        if !is_usual {
            return Err(broken("its span is not one of times in order"));
        }
        Ok(header)
    }

    /// Reads up to the first record, or to the end of a file without records. All objects precede
    /// all records, so that callers know at once which of them to take.
    fn read_entries(&mut self) -> Result<(), ExtractFileError> {
        // Of each object the first is not counted.
        let mut more_stretches = 0;
        loop {
            self.line_before_end()?;
            if self.line.starts_with(RECORD.as_bytes()) {
                self.held = true;
                return Ok(());
            }
            match self.other_line()? {
                ParsedLine::Object(entry) => {
                    more_stretches += entry.stretches().saturating_sub(1);
                    check_claims(&entry, self.objects + 1, more_stretches)?;
                    self.entries.push(*entry);
                    self.objects += 1;
                }
                ParsedLine::End(end) => return self.close(end),
            }
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    ///
    /// See [`ExtractFileError`].
    pub fn next_record(&mut self) -> Result<Option<ExtractRecord<'_>>, ExtractFileError> {
        if self.ended {
            return Ok(None);
        }
        if !std::mem::take(&mut self.held) {
            self.line_before_end()?;
        }
        if !self.line.starts_with(RECORD.as_bytes()) {
            let ParsedLine::End(end) = self.other_line()? else {
                return Err(broken("an object follows a record"));
            };
            return self.close(end).map(|()| None);
        }
        self.read += 1;
        let record =
            ExtractRecord::parse(&self.line).ok_or_else(|| broken("a line is not a record"))?;
        let is_in_span = self.header.span.is_some_and(|(first, last)| {
            // The span opens the file at its time when it is merged with others.
            (first..=last).contains(&record.time.0)
        });
        if !is_in_span {
            return Err(broken("a record is outside of its span"));
        }
        // Callers look up the origin by this index: a wrong one would lose the record in silence.
        if record.object >= self.objects {
            return Err(broken(format!(
                "a record refers to object {} of {}",
                record.object, self.objects
            )));
        }
        Ok(Some(record))
    }

    /// Parses the current line, which is not a record.
    fn other_line(&self) -> Result<ParsedLine, ExtractFileError> {
        serde_json::from_slice(&self.line).map_err(|error| {
            let why = error.to_string();
            if why.starts_with(TOO_MANY) {
                return too_much(EXTRACTED_STRETCHES, "separate stretches of covered hours");
            }
            broken(why)
        })
    }

    /// Checks that nothing is missing: a file truncated between two lines looks like a shorter one,
    /// and only these counts reveal it.
    fn close(&mut self, end: ExtractEnd) -> Result<(), ExtractFileError> {
        self.ended = true;
        let read = ExtractEnd {
            objects: self.objects,
            records: self.read,
        };
        if end == read {
            return Ok(());
        }
        Err(broken(format!("expected {end}, found {read}")))
    }

    fn line_before_end(&mut self) -> Result<(), ExtractFileError> {
        if self.next_line()? {
            return Ok(());
        }
        Err(broken("its end is missing"))
    }

    /// Reads a line; `false` when there is none left.
    fn next_line(&mut self) -> Result<bool, ExtractFileError> {
        self.line.clear();
        // A longer line is truncated here; it is then invalid JSON, and reported as damage.
        let read = (&mut self.source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.line);
        read.map_err(|error| broken(error.to_string()))?;
        Ok(!self.line.is_empty())
    }
}

/// Checks what an extract file claims with its next object, by the number of objects and of
/// stretches of hours so far: both are held in memory.
fn check_claims(
    entry: &ExtractEntry,
    objects: usize,
    more_stretches: usize,
) -> Result<(), ExtractFileError> {
    if objects > EXTRACTED_OBJECTS {
        return Err(too_much(EXTRACTED_OBJECTS, "log objects"));
    }
    if more_stretches > EXTRACTED_STRETCHES {
        let what = "separate stretches of covered hours";
        return Err(too_much(EXTRACTED_STRETCHES, what));
    }
    if !entry.has_usual_times() {
        return Err(broken("an object has a time that no record has"));
    }
    Ok(())
}

fn too_much(most: usize, what: &str) -> ExtractFileError {
    ExtractFileError::TooMuch(format!("more than {most} {what}"))
}

fn broken(why: impl Into<String>) -> ExtractFileError {
    ExtractFileError::Broken(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"schema":"secretrail.extract/1","calls":null,"from":null,
        "to":null,"accounts":[],"regions":[],"span":[3,3]}"#;
    const OBJECT: &str = r#"{"object":{"name":"a","tag":"t","in_tree":true,"delivered":null,
        "object_status":"read","bytes":1,"records":2,"repaired":0,"key_validations":0,"skipped":{},
        "coverage":[]}}"#;
    const RECORD: &str = r#"{"of":0,"time":3,"record":{}}"#;
    const END: &str = r#"{"end":{"objects":1,"records":2}}"#;

    /// Number of records in each extract file.
    fn read(lines: &[&str]) -> Result<Vec<usize>, ExtractFileError> {
        let lines = lines.iter().map(|line| line.replace('\n', " ") + "\n");
        let text: String = lines.collect();
        let mut counts = Vec::new();
        let mut next = ExtractFileReader::new(text.as_bytes())?;
        while let Some(mut part) = next {
            let mut count = 0;
            while part.next_record()?.is_some() {
                count += 1;
            }
            assert!(part.next_record()?.is_none(), "an end is an end");
            counts.push(count);
            next = part.next_extract_file()?;
        }
        Ok(counts)
    }

    fn fault(lines: &[&str]) -> String {
        read(lines).unwrap_err().to_string()
    }

    #[test]
    fn concatenated_files_follow_each_other() {
        let empty = [HEADER, r#"{"end":{"objects":0,"records":0}}"#];
        let full = [HEADER, OBJECT, RECORD, RECORD, END];
        assert_eq!(read(&[]).unwrap(), [0; 0]);
        assert_eq!(
            read(&[&full[..], &empty, &full].concat()).unwrap(),
            [2, 0, 2]
        );
    }

    #[test]
    fn damage_is_reported_with_its_cause() {
        let odd_time = r#"{"of":0,"time":"3","record":{}}"#;
        let other_object = RECORD.replace("0,", "1,");
        let later = RECORD.replace("3,", "4,");
        let backwards = HEADER.replace("[3,3]", "[3,2]");
        let far = OBJECT.replace("[]", r#"[["1","r",[1,2562047788015215]]]"#);
        for (lines, expected) in [
            (&[HEADER][..], "its end is missing"),
            (&[HEADER, OBJECT, RECORD, RECORD], "its end is missing"),
            (
                &[HEADER, OBJECT, RECORD, END],
                "expected 2 records of 1 object, found 1 record of 1 object",
            ),
            (&[HEADER, RECORD], "a record refers to object 0 of 0"),
            (
                &[HEADER, OBJECT, &other_object],
                "a record refers to object 1 of 1",
            ),
            (
                &[HEADER, OBJECT, RECORD, OBJECT],
                "an object follows a record",
            ),
            (&[HEADER, OBJECT, odd_time], "a line is not a record"),
            (
                &[HEADER, OBJECT, RECORD, &later],
                "a record is outside of its span",
            ),
            (&[&backwards], "its span is not one of times in order"),
            (&[HEADER, &far], "an object has a time that no record has"),
        ] {
            let fault = fault(lines);
            assert!(
                fault.starts_with("the extract file is truncated or damaged ("),
                "{fault}"
            );
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn what_a_file_claims_of_hours_has_a_limit() {
        let claim = |stretches: usize, step: usize| {
            let hours = (0..stretches).map(|n| (n * step).to_string());
            let hours = hours.collect::<Vec<_>>().join(",");
            OBJECT.replace("[]", &format!(r#"[["1","r",[{hours}]]]"#))
        };
        let end = r#"{"end":{"objects":1,"records":0}}"#;
        let row = claim(EXTRACTED_STRETCHES + 1, 1);
        assert_eq!(read(&[HEADER, &row, end]).unwrap(), [0]);
        let expected = "the extract file claims more than 2000000 separate stretches of covered \
            hours; extract its logs again in parts, by --from and --to";
        assert_eq!(
            fault(&[HEADER, &claim(EXTRACTED_STRETCHES + 1, 2)]),
            expected
        );
        let half = claim(EXTRACTED_STRETCHES / 2 + 2, 2);
        assert_eq!(fault(&[HEADER, &half, &half]), expected);
    }

    #[test]
    fn what_is_none_of_ours_is_foreign() {
        let newer = HEADER.replace("extract/1", "extract/2");
        assert_eq!(
            fault(&[&newer]),
            "is not an extract file that this version reads (secretrail.extract/2); it reads \
             secretrail.extract/1"
        );
        let logs = read(&[r#"{"Records":[]}"#]);
        assert!(matches!(logs, Err(ExtractFileError::Foreign(_))));
    }
}
