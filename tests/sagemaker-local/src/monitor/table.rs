//! A monitoring job's data as columns of text: from captured requests and answers, CSV or JSON
//! lines.
//!
//! Model Monitor puts an answer's columns before its request's, and names columns without a header
//! `_c0`, `_c1` and so on (developer guide, "Interpret results" and the SDK's dataset formats).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::text;

/// One row: cells by position, or by name. An empty cell is a missing one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Row {
    Cells(Vec<Option<String>>),
    Named(Vec<(String, Option<String>)>),
}

/// A column with a cell for each row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) cells: Vec<Option<String>>,
}

/// Rows as columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// Whether the data itself names its columns.
    pub(crate) named: bool,
    pub(crate) rows: usize,
    /// Rows and lines that could not be read.
    pub(crate) malformed: usize,
}

impl Table {
    /// Rows of another shape than most, or with names where most have none, are malformed.
    pub(crate) fn of(rows: Vec<Row>, malformed: usize) -> Self {
        let mut widths: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        for row in &rows {
            *widths.entry(width(row)).or_default() += 1;
        }
        let usual = widths.into_iter().max_by_key(|(_, count)| *count);
        let Some((usual, count)) = usual else {
            return Self {
                malformed,
                ..Self::default()
            };
        };
        let mut table = Self {
            named: usual.is_none(),
            malformed: malformed + rows.len() - count,
            ..Self::default()
        };
        for row in rows.into_iter().filter(|row| width(row) == usual) {
            match row {
                Row::Cells(cells) => {
                    for (index, cell) in cells.into_iter().enumerate() {
                        table.put(index, || format!("_c{index}"), cell);
                    }
                }
                Row::Named(cells) => {
                    for (name, cell) in cells {
                        let columns = &table.columns;
                        let index = columns.iter().position(|column| column.name == name);
                        let index = index.unwrap_or(columns.len());
                        table.put(index, || name, cell);
                    }
                }
            }
            table.rows += 1;
            for column in &mut table.columns {
                column.cells.resize(table.rows, None);
            }
        }
        table
    }

    /// CSV, with the names in its first line or without any.
    pub(crate) fn of_csv(csv: &str, header: bool) -> Self {
        let mut lines = csv.lines().filter(|line| !line.trim().is_empty());
        let names = header.then(|| lines.next()).flatten().and_then(cells);
        let read: Vec<_> = lines.map(cells).collect();
        let count = read.len();
        let rows: Vec<Row> = read.into_iter().flatten().map(Row::Cells).collect();
        let malformed = count - rows.len();
        let mut table = Self::of(rows, malformed);
        if let Some(names) = names {
            table.name(names.into_iter().map(Option::unwrap_or_default));
            table.named = true;
        }
        table
    }

    /// One flat JSON object a line.
    pub(crate) fn of_json_lines(lines: &str) -> Self {
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        let read: Vec<_> = lines.map(object).collect();
        let count = read.len();
        let rows: Vec<Row> = read.into_iter().flatten().collect();
        let malformed = count - rows.len();
        Self::of(rows, malformed)
    }

    /// Gives columns other names, in their order.
    pub(crate) fn name(&mut self, names: impl Iterator<Item = String>) {
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.name = name;
        }
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn put(&mut self, index: usize, name: impl FnOnce() -> String, cell: Option<String>) {
        if index == self.columns.len() {
            self.columns.push(Column {
                name: name(),
                cells: vec![None; self.rows],
            });
        }
        let cells = &mut self.columns[index].cells;
        // A name that a row has twice counts once.
        if cells.len() == self.rows {
            cells.push(cell);
        }
    }
}

/// How many cells a row without names has.
fn width(row: &Row) -> Option<usize> {
    match row {
        Row::Cells(cells) => Some(cells.len()),
        Row::Named(_) => None,
    }
}

/// Puts the row of an answer and that of its request together.
pub(crate) fn join(first: Row, second: Row) -> Option<Row> {
    Some(match (first, second) {
        (Row::Cells(mut cells), Row::Cells(more)) => {
            cells.extend(more);
            Row::Cells(cells)
        }
        (Row::Named(mut cells), Row::Named(more)) => {
            cells.extend(more);
            Row::Named(cells)
        }
        _ => return None,
    })
}

/// The rows of a captured body; `None` if they can't be read.
pub(crate) fn rows(data: &str, encoding: &str) -> Option<Vec<Row>> {
    match encoding {
        "CSV" => data
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| cells(line).map(Row::Cells))
            .collect(),
        "JSON" => Some(vec![object(data)?]),
        _ => None,
    }
}

/// One line of CSV (RFC 4180, without line breaks in cells); `None` if a quote is left open.
fn cells(line: &str) -> Option<Vec<Option<String>>> {
    let mut cells = Vec::new();
    let (mut cell, mut quoted) = (String::new(), false);
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(present(&std::mem::take(&mut cell))),
            other => cell.push(other),
        }
    }
    cells.push(present(&cell));
    (!quoted).then_some(cells)
}

fn present(cell: &str) -> Option<String> {
    let trimmed = cell.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// A flat object; Model Monitor wants others flattened by a preprocessing script.
fn object(json: &str) -> Option<Row> {
    let Value::Object(object) = serde_json::from_str(json).ok()? else {
        return None;
    };
    let cells = object.into_iter().map(|(name, value)| {
        let cell = match value {
            Value::Null => None,
            Value::String(text) => present(&text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Array(_) | Value::Object(_) => return None,
        };
        Some((name, cell))
    });
    cells.collect::<Option<_>>().map(Row::Named)
}

/// One captured request with its answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// `inferenceId` where the caller gave one, else `eventId`.
    pub(crate) id: String,
    /// RFC 3339, to the second.
    pub(crate) at: String,
    pub(crate) input: Option<Vec<Row>>,
    pub(crate) output: Option<Vec<Row>>,
}

impl Record {
    /// Answer and request row by row; `None` if they don't fit together.
    pub(crate) fn rows(self) -> Option<Vec<Row>> {
        match (self.output, self.input) {
            (Some(output), Some(input)) if output.len() == input.len() => output
                .into_iter()
                .zip(input)
                .map(|(output, input)| join(output, input))
                .collect(),
            (Some(_), Some(_)) | (None, None) => None,
            (Some(rows), None) | (None, Some(rows)) => Some(rows),
        }
    }
}

/// What the lines of captured data hold.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) records: Vec<Record>,
    pub(crate) malformed: usize,
}

impl Records {
    /// Reads the lines of one captured file.
    ///
    /// # Errors
    /// The analyzer's complaint about encodings that it can't compare.
    pub(crate) fn read(&mut self, lines: &str) -> Result<(), String> {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            match record(line)? {
                Some(record) => self.records.push(record),
                None => self.malformed += 1,
            }
        }
        Ok(())
    }

    pub(crate) fn table(self) -> Table {
        let (mut rows, mut malformed) = (Vec::new(), self.malformed);
        for record in self.records {
            match record.rows() {
                Some(read) => rows.extend(read),
                None => malformed += 1,
            }
        }
        Table::of(rows, malformed)
    }
}

fn record(line: &str) -> Result<Option<Record>, String> {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return Ok(None);
    };
    let body = |index: &str| line.get("captureData")?.get(index);
    let (input, output) = (body("endpointInput"), body("endpointOutput"));
    let encoding = |body: Option<&Value>| {
        body.and_then(|body| text(body, "encoding"))
            .map(str::to_owned)
    };
    match (encoding(input), encoding(output)) {
        (Some(input), Some(output)) if input != output => {
            return Err(format!(
                "Encoding mismatch: Encoding is {input} for endpointInput, but Encoding is {output} for endpointOutput. We currently only support the same type of input and output encoding at the moment."
            ));
        }
        (Some(encoding), _) | (None, Some(encoding)) if encoding != "CSV" && encoding != "JSON" => {
            return Err(format!(
                "The encoding {encoding} can't be analyzed: name the content type in DataCaptureConfig's CaptureContentTypeHeader, so that it is captured as CSV or JSON."
            ));
        }
        _ => {}
    }
    let read = |body: Option<&Value>| match body {
        None => Some(None),
        Some(body) => rows(text(body, "data")?, text(body, "encoding")?).map(Some),
    };
    let found = || {
        let meta = line.get("eventMetadata")?;
        Some(Record {
            id: text(meta, "inferenceId")
                .or_else(|| text(meta, "eventId"))?
                .to_owned(),
            at: text(meta, "inferenceTime")?.to_owned(),
            input: read(input)?,
            output: read(output)?,
        })
    };
    Ok(found())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn line(input: &str, output: &str, encodings: (&str, &str)) -> String {
        json!({
            "captureData": {
                "endpointInput": {"mode": "INPUT", "data": input, "encoding": encodings.0},
                "endpointOutput": {"mode": "OUTPUT", "data": output, "encoding": encodings.1},
            },
            "eventMetadata": {"eventId": "e", "inferenceTime": "2026-03-01T12:00:00Z"},
            "eventVersion": "0",
        })
        .to_string()
    }

    fn names(table: &Table) -> Vec<&str> {
        table
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    #[test]
    fn an_answers_columns_come_before_its_requests() {
        let mut records = Records::default();
        records
            .read(&line("1,a\n2,b", "0.5\n0.7", ("CSV", "CSV")))
            .unwrap();
        let table = records.table();
        assert_eq!(names(&table), ["_c0", "_c1", "_c2"]);
        assert_eq!(table.rows, 2);
        assert_eq!(table.columns[0].cells[1].as_deref(), Some("0.7"));
        assert_eq!(table.columns[2].cells[0].as_deref(), Some("a"));
    }

    #[test]
    fn malformed_lines_are_counted_and_not_fatal() {
        let mut records = Records::default();
        let good = line("1,a", "0.5", ("CSV", "CSV"));
        let uneven = line("1,a\n2,b", "0.5", ("CSV", "CSV"));
        let wide = line("1,a,3", "0.5", ("CSV", "CSV"));
        let open = line("1,\"a", "0.5", ("CSV", "CSV"));
        let lines = [&good, "{", "7", &uneven, &wide, &open, &good].map(str::to_owned);
        records.read(&lines.join("\n")).unwrap();
        let table = records.table();
        assert_eq!((table.rows, table.malformed), (2, 5));
    }

    #[test]
    fn json_columns_have_their_own_names_and_may_be_missing() {
        let mut records = Records::default();
        records
            .read(&line(
                r#"{"a":1,"b":"x"}"#,
                r#"{"p":0.5}"#,
                ("JSON", "JSON"),
            ))
            .unwrap();
        records
            .read(&line(r#"{"a":null}"#, r#"{"p":true}"#, ("JSON", "JSON")))
            .unwrap();
        records
            .read(&line(r#"{"a":[1]}"#, r#"{"p":0.5}"#, ("JSON", "JSON")))
            .unwrap();
        let table = records.table();
        assert_eq!(names(&table), ["p", "a", "b"]);
        assert_eq!(
            table.column("a").unwrap().cells,
            [Some("1".to_owned()), None]
        );
        assert_eq!(
            table.column("b").unwrap().cells,
            [Some("x".to_owned()), None]
        );
        assert_eq!((table.rows, table.malformed), (2, 1));
    }

    #[test]
    fn encodings_that_differ_are_what_the_analyzer_refuses() {
        let mut records = Records::default();
        let error = records
            .read(&line("1", "e30=", ("CSV", "BASE64")))
            .unwrap_err();
        assert!(
            error.starts_with("Encoding mismatch: Encoding is CSV"),
            "{error}"
        );
        assert!(
            records
                .read(&line("MQ==", "MQ==", ("BASE64", "BASE64")))
                .is_err()
        );
    }

    #[test]
    fn csv_may_quote_and_leave_out() {
        let table = Table::of_csv("name,amount\r\n\"a, \"\"b\"\"\",\r\nc,3\r\n", true);
        assert_eq!(names(&table), ["name", "amount"]);
        assert_eq!(table.columns[0].cells[0].as_deref(), Some("a, \"b\""));
        assert_eq!(table.columns[1].cells, [None, Some("3".to_owned())]);
        assert!(table.named);
    }
}
