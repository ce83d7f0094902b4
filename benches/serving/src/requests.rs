//! Rows → requests, as bytes that are ready to be sent: for the service, and for a peer that reads Vowpal Wabbit's text.
//!
//! Of the 39 fields of a row the first 30 are the context's (the user, the page, the slot) and the last 9 the candidate's (the ad).

use serde_json::{Map, Value, json};

/// Fields of the context.
pub const CONTEXT: usize = 30;

/// Name of a field, from 0.
pub fn field(position: usize) -> String {
    if position < 13 { format!("I{}", position + 1) } else { format!("C{}", position - 12) }
}

/// Bodies with `candidates` each, from rows one after another.
pub fn bodies(rows: &[Vec<String>], candidates: usize, count: usize) -> Vec<String> {
    let cells = |row: &[String], from: usize| -> Map<String, Value> {
        let cells = row.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
        cells.map(|(at, cell)| (field(from + at), json!(cell))).collect()
    };
    let body = |at: usize| {
        let row = |candidate: usize| &rows[(at * 31 + candidate) % rows.len()];
        let own = (0..candidates).map(|candidate| Value::Object(cells(&row(candidate)[CONTEXT..], CONTEXT)));
        json!({ "context": cells(&row(0)[..CONTEXT], 0), "candidates": own.collect::<Vec<_>>() }).to_string()
    };
    (0..count).map(body).collect()
}

/// An HTTP request with a body; `headers` are whole lines.
pub fn http(body: &str, headers: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /v1/score HTTP/1.1\r\nhost: pctr\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

/// The same candidates as lines of Vowpal Wabbit's text, context and candidate together.
pub fn lines(rows: &[Vec<String>], candidates: usize, count: usize) -> Vec<Vec<u8>> {
    let namespaces: Vec<char> = ('A'..='M').chain('a'..='z').collect();
    let cell = |cell: &str, at: usize| match (at < 13).then(|| cell.parse::<i64>()) {
        Some(Ok(number)) if number > 2 => format!("S{}", (number as f64).ln().powi(2) as i64),
        _ => cell.to_owned(),
    };
    let line = |context: &[String], own: &[String]| {
        let cells = context[..CONTEXT].iter().chain(&own[CONTEXT..]).enumerate();
        let words = cells.filter(|(_, text)| !text.is_empty());
        words.map(|(at, text)| format!("|{} {} ", namespaces[at], cell(text, at))).collect::<String>() + "\n"
    };
    let request = |at: usize| -> Vec<u8> {
        let row = |candidate: usize| &rows[(at * 31 + candidate) % rows.len()][..];
        (0..candidates).flat_map(|candidate| line(row(0), row(candidate)).into_bytes()).collect()
    };
    (0..count).map(request).collect()
}
