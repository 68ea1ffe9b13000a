//! Splits an object into pieces: JSON as by [`RecordSplitter`], and query results as CSV, of which
//! each row becomes a JSON object with its columns.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::{
    limits::MAX_RECORD_BYTES,
    row::{WHOLE, column_key, is_column},
    split::{RecordSplitter, SplitPiece, lines::known_up_to},
};

/// Bytes at the beginning of an object in which the first line of a table must end.
const FIRST_LINE: usize = 64 * 1024;

/// Columns of a row: more than any result has, and a limit for hostile files.
const COLUMNS: usize = 4_096;

/// A piece of an object.
pub(super) enum ObjectPiece<'a> {
    /// A piece of JSON.
    Json(SplitPiece<'a>),
    /// A row of a table, as a JSON object.
    Row(&'a [u8]),
    /// A row that is longer than a record may be.
    TooLarge,
    /// A row with fewer or more cells than there are columns: it is damaged, and which cell belongs
    /// to which column is not known.
    Cut,
}

/// Splits an object into pieces, whether it is JSON or a table.
#[derive(Default)]
pub(super) struct PieceReader {
    form: ObjectForm,
    splitter: RecordSplitter,
    /// The end of the last piece of a table, where a log may begin.
    held: Vec<u8>,
}

/// What the first bytes of an object say about the rest.
enum ObjectForm {
    /// Nothing yet: they are too few.
    Open(Vec<u8>),
    /// JSON, or what is no table.
    Json,
    /// A table.
    Table(Box<TableReader>),
}

impl Default for ObjectForm {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl PieceReader {
    /// Reads the object as JSON, whatever its first bytes are.
    pub(super) fn read_as_json(&mut self) {
        self.form = ObjectForm::Json;
    }

    /// Takes the next bytes and passes on each piece that ends in them.
    pub(super) fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(ObjectPiece<'_>)) {
        // No bytes would end a table.
        if bytes.is_empty() {
            return;
        }
        match std::mem::take(&mut self.form) {
            ObjectForm::Open(begun) if begun.is_empty() => self.begin(bytes, false, sink),
            ObjectForm::Open(begun) => self.begin(&[&begun, bytes].concat(), false, sink),
            form => self.go_on(form, bytes, sink),
        }
    }

    /// Decides by the first bytes. `is_whole` means that no more bytes follow.
    fn begin(&mut self, first: &[u8], is_whole: bool, sink: &mut dyn FnMut(ObjectPiece<'_>)) {
        match ObjectForm::of(first, is_whole) {
            Some(form) => self.go_on(form, first, sink),
            None => self.form = ObjectForm::Open(first.to_owned()),
        }
    }

    fn go_on(&mut self, form: ObjectForm, bytes: &[u8], sink: &mut dyn FnMut(ObjectPiece<'_>)) {
        match form {
            ObjectForm::Table(table) => self.table(table, bytes, sink),
            ObjectForm::Open(_) | ObjectForm::Json => {
                self.form = ObjectForm::Json;
                self.splitter
                    .feed(bytes, &mut |piece| sink(ObjectPiece::Json(piece)));
            }
        }
    }

    /// Takes the next bytes of a table. It ends where a line of JSON begins: no cell holds a line
    /// break and then that text, because quotes in a cell are doubled.
    fn table(
        &mut self,
        mut table: Box<TableReader>,
        bytes: &[u8],
        sink: &mut dyn FnMut(ObjectPiece<'_>),
    ) {
        // Joined only where a line break is at the end of a piece, which is rare.
        let held = std::mem::take(&mut self.held);
        let joined = (!held.is_empty()).then(|| [&held, bytes].concat());
        let bytes = joined.as_deref().unwrap_or(bytes);
        let mut breaks = memchr::memchr_iter(b'\n', bytes);
        let log = breaks.find(|at| bytes.get(at + 1..).is_some_and(begins_json));
        if let Some(at) = log {
            let (rows, log) = bytes.split_at_checked(at + 1).unwrap_or((bytes, &[]));
            table.feed(rows, sink);
            table.feed(b"", sink);
            return self.go_on(ObjectForm::Json, log, sink);
        }
        let (known, held) = bytes
            .split_at_checked(known_up_to(bytes))
            .unwrap_or((bytes, &[]));
        self.held = held.to_vec();
        // No bytes would end it.
        if !known.is_empty() {
            table.feed(known, sink);
        }
        self.form = ObjectForm::Table(table);
    }

    /// Ends an object, whole or not: what was begun is passed on.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(ObjectPiece<'_>)) {
        match std::mem::take(&mut self.form) {
            ObjectForm::Open(begun) => self.begin(&begun, true, sink),
            form => self.form = form,
        }
        if let ObjectForm::Table(mut table) = std::mem::take(&mut self.form) {
            let held = std::mem::take(&mut self.held);
            if !held.is_empty() {
                table.feed(&held, sink);
            }
            table.feed(b"", sink);
        }
        self.splitter
            .finish(&mut |piece| sink(ObjectPiece::Json(piece)));
    }
}

impl ObjectForm {
    /// Decides by the first bytes; `None` while they are too few. `is_whole` means that no more
    /// bytes follow.
    fn of(first: &[u8], is_whole: bool) -> Option<Self> {
        let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
        let text = text.trim_ascii_start();
        // Objects, arrays and texts with them begin like this, and no first line of a table does.
        let value = text.strip_prefix(b"\"").unwrap_or(text);
        if value.starts_with(b"{") || value.starts_with(b"[") {
            return Some(Self::Json);
        }
        // Two bytes decide about a text.
        if text == b"\"" && !is_whole {
            return None;
        }
        // Results of CloudTrail Lake begin with a comment.
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let line = lines.find(|line| !line.starts_with(b"#"));
        if !line.is_some_and(|line| line.ends_with(b"\n")) && !is_whole && first.len() < FIRST_LINE
        {
            return None;
        }
        let line = line.unwrap_or_default();
        let delimiter = [b',', b'\t', b';']
            .into_iter()
            .find(|delimiter| is_header(&columns_of(line, *delimiter)));
        Some(delimiter.map_or(Self::Json, |delimiter| {
            Self::Table(Box::new(TableReader::new(delimiter)))
        }))
    }
}

/// Whether a line begins as a line of JSON does, and no row of a table.
fn begins_json(line: &[u8]) -> bool {
    // A quote that is doubled is one in a cell.
    matches!(
        line.strip_prefix(b"[").unwrap_or(line),
        [b'{', b'"', next, ..] if *next != b'"'
    )
}

/// The columns of a first line.
fn columns_of(line: &[u8], delimiter: u8) -> Vec<String> {
    let mut table = TableReader::new(delimiter);
    let mut columns = Vec::new();
    table.rows(
        [line.trim_ascii_start(), b"\n"].concat().as_slice(),
        &mut |row| {
            if let TableRow::Cells(cells) = row {
                columns = cells.iter().map(|cell| column_key(cell)).collect();
            }
        },
    );
    columns
}

/// Whether these are columns of records: those that say what happened, or a whole record.
fn is_header(columns: &[String]) -> bool {
    let has = |name: &str| columns.iter().any(|column| column == name);
    let says_what = has("eventname") && (has("eventsource") || has("eventtime"));
    // One word of ordinary text may be the name of one column, but not these.
    let is_whole = has("eventjson") || has("cloudtrailevent");
    says_what || is_whole || (columns.len() > 1 && WHOLE.iter().any(|name| has(name)))
}

/// The columns that a first line names; `None` for those that tell nothing of a record.
fn columns(cells: Vec<Cow<'_, str>>) -> Vec<Option<String>> {
    let cells = cells.into_iter().map(Cow::into_owned);
    let columns = cells.map(|name| Some(name).filter(|name| is_column(&column_key(name))));
    columns.collect()
}

/// Whether a row is the first line of another table. No caller chooses what stands under
/// `eventTime`, so that a row of a record is none.
fn is_first_line(cells: &[Cow<'_, str>]) -> bool {
    // Nearly every row ends the search at a time or an address.
    cells.len() > 1
        && cells.iter().all(|cell| is_name(cell))
        && is_header(
            &cells
                .iter()
                .map(|cell| column_key(cell))
                .collect::<Vec<_>>(),
        )
}

/// Whether a cell may be the name of a column.
fn is_name(cell: &str) -> bool {
    let mut letters = cell.chars();
    letters.all(|letter| letter.is_ascii_alphanumeric() || "_@.- ".contains(letter))
        && !cell.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether a cell goes on in another row, as where the quote at its end is missing: it begins as
/// JSON, holds a line break and is none.
fn is_run_on(cell: &str) -> bool {
    cell.starts_with("{\"")
        && cell.contains('\n')
        && serde_json::from_str::<IgnoredAny>(cell).is_err()
}

/// A row as JSON. What is empty is absent, but its column still tells the form of the row.
fn object(header: &[Option<String>], cells: &[Cow<'_, str>]) -> String {
    let mut row = Map::new();
    for (column, cell) in header.iter().zip(cells) {
        let Some(column) = column else { continue };
        // Of columns with one name the first that has a value counts.
        let known = row.entry(column.clone()).or_insert(Value::Null);
        if known.is_null() && !cell.is_empty() {
            *known = Value::from(&**cell);
        }
    }
    Value::Object(row).to_string()
}

/// Something in a table.
enum TableRow<'t> {
    /// The cells of a row.
    Cells(Vec<Cow<'t, str>>),
    /// A row beyond the limit of a record.
    TooLarge,
}

/// Reads a table from pieces of any length.
struct TableReader {
    reader: Reader,
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// Bytes and cells of the row that was begun.
    begun: (usize, usize),
    is_too_large: bool,
    delimiter: u8,
    may_comment: bool,
    /// The columns; `None` before they are known, and for those that tell nothing of a record.
    header: Option<Vec<Option<String>>>,
}

impl TableReader {
    fn new(delimiter: u8) -> Self {
        Self {
            reader: ReaderBuilder::new()
                .delimiter(delimiter)
                .comment(Some(b'#'))
                .build(),
            cells: vec![0; 4_096],
            ends: vec![0; 64],
            begun: (0, 0),
            is_too_large: false,
            header: None,
            delimiter,
            may_comment: true,
        }
    }

    /// Reads the next bytes; no bytes mean the end.
    fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(ObjectPiece<'_>)) {
        let mut header = self.header.take();
        self.rows(bytes, &mut |row| match (&header, row) {
            (_, TableRow::TooLarge) => found(ObjectPiece::TooLarge),
            (None, TableRow::Cells(cells)) => {
                header = Some(columns(cells));
            }
            (Some(_), TableRow::Cells(cells)) if cells.iter().all(|cell| cell.is_empty()) => {}
            // Tables behind each other, of which each has its own columns.
            (Some(_), TableRow::Cells(cells)) if is_first_line(&cells) => {
                header = Some(columns(cells));
            }
            (Some(known), TableRow::Cells(cells)) => {
                // Spreadsheets write empty cells behind a row.
                let surplus = cells.get(known.len()..).unwrap_or_default();
                let is_odd = cells.len() < known.len()
                    || surplus.iter().any(|cell| !cell.is_empty())
                    || cells.iter().any(|cell| is_run_on(cell));
                if is_odd {
                    found(ObjectPiece::Cut);
                } else {
                    found(ObjectPiece::Row(object(known, &cells).as_bytes()));
                }
            }
        });
        self.header = header;
    }

    fn rows(&mut self, bytes: &[u8], found: &mut dyn FnMut(TableRow<'_>)) {
        let mut rest = bytes;
        loop {
            let (cells, ends) = self.begun;
            let (result, read, written, ended) = self.reader.read_record(
                rest,
                self.cells.get_mut(cells..).unwrap_or_default(),
                self.ends.get_mut(ends..).unwrap_or_default(),
            );
            rest = rest.get(read..).unwrap_or_default();
            self.begun = (cells + written, ends + ended);
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return,
                ReadRecordResult::OutputFull => self.make_room(),
                ReadRecordResult::OutputEndsFull if self.ends.len() < COLUMNS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => self.drop_begun(),
                ReadRecordResult::Record => {
                    let row = if std::mem::take(&mut self.is_too_large) {
                        TableRow::TooLarge
                    } else {
                        TableRow::Cells(self.row())
                    };
                    found(row);
                    self.begun = (0, 0);
                    // Only before the first line may there be comments: a cell may begin with `#`.
                    if self.may_comment {
                        self.may_comment = false;
                        self.reader = ReaderBuilder::new().delimiter(self.delimiter).build();
                    }
                }
            }
        }
    }

    fn make_room(&mut self) {
        if self.cells.len() < MAX_RECORD_BYTES {
            self.cells.resize(self.cells.len() * 2, 0);
        } else {
            self.drop_begun();
        }
    }

    /// Forgets the row that was begun: the rest of it is read and dropped, too.
    fn drop_begun(&mut self) {
        self.is_too_large = true;
        self.begun = (0, 0);
    }

    /// The cells of the row that is complete.
    fn row(&self) -> Vec<Cow<'_, str>> {
        let (_, cells) = self.begun;
        let ends = self.ends.get(..cells).unwrap_or_default();
        let starts = [0].iter().chain(ends);
        let cells = starts.zip(ends).map(|(start, end)| {
            let cell = self.cells.get(*start..*end).unwrap_or_default();
            // A byte that is no text costs only itself.
            String::from_utf8_lossy(cell)
        });
        cells.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(first: &str, is_whole: bool) -> &'static str {
        match ObjectForm::of(first.as_bytes(), is_whole) {
            None => "open",
            Some(ObjectForm::Table(_)) => "table",
            Some(_) => "json",
        }
    }

    #[test]
    fn a_table_is_known_by_its_first_line() {
        for (first, expected) in [
            ("\"eventtime\",\"eventsource\",\"eventname\"\n", "table"),
            ("\u{feff}Event name;Event time;Region\r\n", "table"),
            ("TimeGenerated [UTC]\tEventName\tEventSource\n1", "table"),
            ("@timestamp,@message\n", "table"),
            ("eventJson\n", "table"),
            ("# Execution Time: t\neventName,eventTime\n", "table"),
            ("# Execution Time: t\neventName,", "open"),
            ("eventname,even", "open"),
            ("{\"eventname\",\"eventsource\"\n", "json"),
            ("", "open"),
        ] {
            assert_eq!(form(first, false), expected, "{first}");
        }
        assert_eq!(
            (form("eventname,eventtime", true), form("", true)),
            ("table", "json")
        );
        for other in [
            "name,time\n",
            "eventname\n",
            "message\n",
            "event name in eventtime\n",
        ] {
            assert_eq!(form(other, false), "json", "{other}");
        }
    }

    /// Rows as JSON, from pieces of this length.
    fn rows(text: &str, piece: usize) -> Vec<String> {
        let mut table = TableReader::new(b',');
        let mut rows = Vec::new();
        let mut add = |row: ObjectPiece<'_>| {
            rows.push(match row {
                ObjectPiece::Row(json) => String::from_utf8(json.to_vec()).unwrap(),
                ObjectPiece::Cut => "cut".to_owned(),
                ObjectPiece::TooLarge | ObjectPiece::Json(_) => "too large".to_owned(),
            });
        };
        for piece in text.as_bytes().chunks(piece) {
            table.feed(piece, &mut add);
        }
        table.feed(b"", &mut add);
        rows
    }

    #[test]
    fn rows_are_the_same_in_pieces_of_any_length() {
        let text = "eventname,other,raw\r\n\"x\"\"y\n\",1,\"\"\n\n#1,2,3,,\n1,2,3,4\n,,\nz";
        let expected = [
            r##"{"eventname":"x\"y\n","raw":null}"##,
            r##"{"eventname":"#1","raw":"3"}"##,
            "cut",
            "cut",
        ];
        for piece in 1..text.len() {
            assert_eq!(rows(text, piece), expected, "{piece}");
        }
    }

    #[test]
    fn a_cell_without_its_last_quote_does_not_swallow_the_next_row() {
        let text = "eventname,raw\nx,\"{\"\"a\"\":1}\ny,\"{\"\"a\"\":2}\"\nz,\"{\"\"a\"\":\n3}\"\n";
        let expected = ["cut", r#"{"eventname":"z","raw":"{\"a\":\n3}"}"#];
        for piece in 1..text.len() {
            assert_eq!(rows(text, piece), expected, "{piece}");
        }
    }

    #[test]
    fn tables_behind_each_other_have_their_own_columns() {
        let text = "eventName,eventTime,eventSource\nGetSecretValue,2026,kms\n\
                    eventSource,eventTime,eventName\nssm,2027,eventName\n";
        let expected = [
            r#"{"eventName":"GetSecretValue","eventTime":"2026","eventSource":"kms"}"#,
            r#"{"eventSource":"ssm","eventTime":"2027","eventName":"eventName"}"#,
        ];
        for piece in 1..text.len() {
            let rows = rows(text, piece);
            let same = rows.iter().zip(expected).all(|(row, expected)| {
                let [row, expected] =
                    [row, expected].map(|row| serde_json::from_str::<Value>(row).unwrap());
                row == expected
            });
            assert!(same && rows.len() == 2, "{rows:?}");
        }
    }

    #[test]
    fn lines_of_json_behind_a_first_line_and_texts_are_no_table() {
        let pieces = |text: &str, size: usize| {
            let mut found = Vec::new();
            let mut add = |piece: ObjectPiece<'_>| {
                found.push(match piece {
                    ObjectPiece::Json(SplitPiece::Unit { .. }) => "unit",
                    ObjectPiece::Json(SplitPiece::Text(_)) => "text",
                    ObjectPiece::Row(_) => "row",
                    _ => "other",
                });
            };
            let mut reader = PieceReader::default();
            text.as_bytes()
                .chunks(size)
                .for_each(|piece| reader.feed(piece, &mut add));
            reader.finish(&mut add);
            found
        };
        let first = "eventName,eventTime,eventSource\n";
        for size in 1..40 {
            let lines = format!("{first}{{\"a\":1,\"b\":2}}\n[{{\"a\":1}}]\n");
            assert_eq!(pieces(&lines, size), ["unit", "unit"]);
            let quoted = format!("{first}\"{{\"\"a\"\":1}}\",\"\n{{\"\"\",x\n");
            assert_eq!(pieces(&quoted, size), ["row"]);
            let text = "\"{\\\"a\\\":1,\\\"message\\\":[1]}\"\n{\"a\":1}\n";
            assert_eq!(pieces(text, size), ["text", "unit"]);
        }
    }

    #[test]
    fn a_log_behind_a_table_is_read_whatever_the_pieces() {
        let text = "\\,CloudTrailEvent\nx,y\n\"open\n{\"Records\":[{\"a\":1}]}\n";
        for piece in 1..text.len() {
            let mut found = Vec::new();
            let mut add = |piece: ObjectPiece<'_>| {
                found.push(match piece {
                    ObjectPiece::Json(SplitPiece::Unit { bytes, .. }) => {
                        String::from_utf8(bytes.to_vec()).unwrap()
                    }
                    ObjectPiece::Row(json) => String::from_utf8(json.to_vec()).unwrap(),
                    ObjectPiece::Cut => "cut".to_owned(),
                    ObjectPiece::Json(_) | ObjectPiece::TooLarge => "other".to_owned(),
                });
            };
            let mut reader = PieceReader::default();
            for bytes in text.as_bytes().chunks(piece) {
                reader.feed(bytes, &mut add);
            }
            reader.finish(&mut add);
            let row = r#"{"CloudTrailEvent":"y"}"#;
            assert_eq!(found, [row, "cut", r#"{"a":1}"#], "{piece}");
        }
    }

    #[test]
    fn a_row_beyond_the_limit_costs_only_itself() {
        let long = "x".repeat(2 * MAX_RECORD_BYTES);
        let wide = ",".repeat(2 * COLUMNS);
        let text = format!("eventname,raw\n{long},1\n{wide}\n2,3\n");
        let expected = ["too large", "too large", r#"{"eventname":"2","raw":"3"}"#];
        assert_eq!(rows(&text, 1 << 16), expected);
    }
}
