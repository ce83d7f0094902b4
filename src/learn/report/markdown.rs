//! Sections → Markdown.

use std::fmt::Write;

use super::content::{Table, sections};
use crate::learn::experiment::Comparison;

/// The report as Markdown; its pictures are in the HTML, the numbers behind them in the JSON.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("# {}\n\n", comparison.title);
    let mut paragraph = |line: &str| writeln!(text, "{line}\n").expect("writing to a string cannot fail");
    if let Some(question) = &comparison.question {
        paragraph(&format!("*{question}*"));
    }
    paragraph(&format!("**{}**", comparison.verdict));
    paragraph(&comparison.reason);
    for note in &comparison.notes {
        paragraph(&format!("Note: {note}"));
    }
    for section in
        sections(comparison).iter().filter(|section| !section.tables.is_empty() || !section.folded.is_empty())
    {
        paragraph(&format!("## {}", section.title));
        for line in &section.text {
            paragraph(line);
        }
        for table in section.tables.iter().chain(section.folded.iter().flat_map(|folded| &folded.tables)) {
            paragraph(of_table(table).trim_end());
        }
        if let Some(verbatim) = &section.verbatim {
            paragraph(&format!("```toml\n{verbatim}\n```"));
        }
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}

fn of_table(table: &Table) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut text = format!("{}:\n\n|", table.caption);
    let names = table.columns.iter().map(|(name, _)| format!(" {} |", cell(name)));
    text.extend(names);
    text.push_str("\n|");
    for at in 0..table.columns.len() {
        text.push_str(if at == 0 { "---|" } else { "---:|" });
    }
    for (at, row) in table.rows.iter().enumerate() {
        text.push_str("\n|");
        for value in row {
            let value = cell(value);
            match table.marked == Some(at) {
                true => text.push_str(&format!(" **{value}** |")),
                false => text.push_str(&format!(" {value} |")),
            }
        }
    }
    text.push('\n');
    text
}
