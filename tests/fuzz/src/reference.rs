//! The splitter once more, byte by byte and without registers: a scanner of brackets, and documents
//! whose units are known because they were put together.

use arbitrary::{Result, Unstructured};

/// Whether a unit ends with the bracket that closes its first one, and not before.
#[must_use]
pub fn is_one_object(unit: &[u8]) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in unit.iter().enumerate() {
        let escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' => is_escaped = !escaped,
            b'"' if !escaped => in_string = !in_string,
            b'\n' => in_string = in_string && !ends_with_line(unit, at),
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => match depth.checked_sub(1) {
                Some(0) => return at + 1 == unit.len() && unit.first() == Some(&b'{'),
                Some(less) => depth = less,
                None => return false,
            },
            _ => {}
        }
    }
    false
}

/// Whether a string ends with its line: where the next one begins as a line of JSON does, or with
/// a document behind other text.
fn ends_with_line(unit: &[u8], at: usize) -> bool {
    let line = unit.get(at + 1..).unwrap_or_default();
    let known = line.get(..11).unwrap_or(line);
    let first = known.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|byte| b"\"{}[],".contains(byte)) || has_document_behind_text(line)
}

/// Whether an object begins in a line behind text that is not JSON.
fn has_document_behind_text(line: &[u8]) -> bool {
    let line = line.get(..160).unwrap_or(line);
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let at = line.windows(2).position(|two| two == b"{\"");
    let text = at.and_then(|at| line.get(..at)).unwrap_or_default();
    let text = text.trim_ascii();
    let scalar = b"0123456789.+-eE,[] \ttrufalsn";
    let may_be_a_list = matches!(text.last(), Some(b',' | b'['))
        && text.iter().all(|byte| scalar.contains(byte));
    let is_json = match text.first() {
        None | Some(b'{' | b'}' | b']' | b',') => true,
        Some(b'[') => !text.contains(&b']'),
        Some(_) => false,
    };
    !is_json && !may_be_a_list && !text.contains(&b'"')
}

/// Offset of the first byte after the first object or array in a unit; 0 when there is none.
#[must_use]
pub fn after_first(unit: &[u8]) -> usize {
    ends_of_values(unit).first().copied().unwrap_or(0)
}

/// Whether an offset is the first byte after an object or array at the top level of a unit.
#[must_use]
pub fn is_after_value(unit: &[u8], offset: usize) -> bool {
    ends_of_values(unit).contains(&offset)
}

/// Offsets behind the objects and arrays at the top level of a unit.
fn ends_of_values(unit: &[u8]) -> Vec<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut ends = Vec::new();
    for (at, byte) in unit.iter().enumerate() {
        let escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' => is_escaped = !escaped,
            b'"' if !escaped => in_string = !in_string,
            b'\n' => in_string = in_string && !ends_with_line(unit, at),
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth = depth.saturating_sub(1);
                if depth == 1 {
                    ends.push(at + 1);
                }
            }
            _ => {}
        }
    }
    ends
}

/// Documents as log files and JSON lines have them, and their units.
#[derive(Debug, Default)]
pub struct Documents {
    /// The text.
    pub text: Vec<u8>,
    /// The objects that the splitter must find in it.
    pub units: Vec<Vec<u8>>,
}

impl Documents {
    /// Documents that depend on arbitrary bytes.
    ///
    /// # Errors
    ///
    /// There are too few bytes.
    pub fn of(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let mut documents = Self::default();
        for _ in 0..bytes.int_in_range(1..=6)? {
            match bytes.int_in_range(0..=3)? {
                0 => documents.list(b"{\"Records\":[", b"]}", bytes)?,
                1 => {
                    documents.list(b"{\"next\":\"]}\",\"Records\" : [", b"],\"a\":[{}]}", bytes)?
                }
                2 => documents.list(b"[", b"]", bytes)?,
                _ => documents.unit(bytes)?,
            }
            documents
                .text
                .extend_from_slice(bytes.choose(&[&b"\n"[..], b"", b" ", b"\r\n\n"])?);
        }
        Ok(documents)
    }

    fn list(&mut self, opens: &[u8], closes: &[u8], bytes: &mut Unstructured<'_>) -> Result<()> {
        let from = self.text.len();
        self.text.extend_from_slice(opens);
        let units = bytes.int_in_range(0..=4)?;
        for index in 0..units {
            if index > 0 {
                self.text
                    .extend_from_slice(bytes.choose(&[&b","[..], b" , ", b",\n"])?);
            }
            self.unit(bytes)?;
        }
        self.text.extend_from_slice(closes);
        // A list with a name that holds nothing may be a field of a record, such as `resources`:
        // the object around it is what there is to read.
        if units == 0 && opens.starts_with(b"{") {
            self.units.push(self.text[from..].to_vec());
        }
        Ok(())
    }

    fn unit(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let mut unit = Vec::new();
        object(0, bytes, &mut unit)?;
        self.text.extend_from_slice(&unit);
        self.units.push(unit);
        Ok(())
    }
}

fn object(depth: usize, bytes: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    for index in 0..bytes.int_in_range(0..=4)? {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        // The keys that name lists are left to the documents themselves.
        out.extend_from_slice(format!("\"k{index}\":").as_bytes());
        value(depth + 1, bytes, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn value(depth: usize, bytes: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    match bytes.int_in_range(0..=if depth < 6 { 4 } else { 2 })? {
        0 => out.extend_from_slice(b"-1.5e3"),
        1 => out.extend_from_slice(b"null"),
        2 => string(bytes, out)?,
        3 => {
            out.push(b'[');
            for index in 0..bytes.int_in_range(0..=3)? {
                if index > 0 {
                    out.push(b',');
                }
                value(depth + 1, bytes, out)?;
            }
            out.push(b']');
        }
        _ => object(depth, bytes, out)?,
    }
    Ok(())
}

/// A string with everything that a splitter could take for something else.
fn string(bytes: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    const PARTS: [&[u8]; 10] = [
        b"x",
        b"\\\"",
        b"\\\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\n",
        b"Records",
        b"\xc3\xa4",
    ];
    out.push(b'"');
    for _ in 0..bytes.int_in_range(0..=40)? {
        out.extend_from_slice(bytes.choose(&PARTS)?);
    }
    out.push(b'"');
    Ok(())
}
