//! A comparison → `report.html` (one file, no network), `report.md`, `report.json` and `results.csv`.
//!
//! ```text
//! comparison ─┬─▶ content (sections of text, tables, charts) ─┬─▶ markdown
//!             │                                               └─▶ html (template.html, page.css, page.js)
//!             └─▶ json, csv
//! ```
//!
//! A report is a pure view of records: it opens no model and no data, so it can be made again anywhere, at any time.

mod charts;
mod content;
mod csv;
pub mod exhibit;
mod html;
mod json;
mod markdown;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::durable::write_bytes;
use crate::error::{Error, Result};
use crate::learn::experiment::Comparison;

pub use csv::csv;
pub use html::html;
pub use json::{FORMAT, json};
pub use markdown::markdown;

/// Where the parts of a report were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFiles {
    /// With pictures.
    pub html: PathBuf,
    /// The same text and tables.
    pub markdown: PathBuf,
    /// The same numbers, with those behind the pictures.
    pub json: PathBuf,
}

/// Writes the report to `path` (`….html`), and Markdown and JSON beside it.
///
/// # Errors
/// Config when `path` does not end in `.html`; io when it cannot be written.
pub fn write(comparison: &Comparison, path: &Path) -> Result<ReportFiles> {
    if path.extension().is_none_or(|extension| extension != "html") {
        return Err(Error::config("-o", path.display().to_string(), "expected a name that ends in .html"));
    }
    let files = ReportFiles {
        html: path.to_path_buf(),
        markdown: path.with_extension("md"),
        json: path.with_extension("json"),
    };
    write_bytes(&files.html, html(comparison)?.as_bytes())?;
    write_bytes(&files.markdown, markdown(comparison).as_bytes())?;
    write_bytes(&files.json, json(comparison)?.as_bytes())?;
    Ok(files)
}

/// Writes everything an experiment leaves beside its runs: `report.html`, `report.md`, `report.json`, `results.csv`.
///
/// # Errors
/// Io when it cannot be written.
pub fn write_all(comparison: &Comparison, folder: &Path) -> Result<ReportFiles> {
    write_bytes(&folder.join("results.csv"), csv(comparison).as_bytes())?;
    write(comparison, &folder.join("report.html"))
}
