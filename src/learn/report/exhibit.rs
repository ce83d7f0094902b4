//! `analysis/NAME.json` of an experiment → a section of its report: text, tables and drawings whose numbers are still numbers.
//!
//! What looks into models and data (importance, ablations, collisions, learning curves) is costly and needs both; a report needs
//! neither. So an analysis leaves an exhibit, and the report shows any exhibit without knowing what it is about.

use serde::{Deserialize, Serialize};

/// Folder of an experiment that holds its exhibits, shown in the order of their file names.
pub const ANALYSIS: &str = "analysis";
/// Version of the layout.
pub const FORMAT: u32 = 1;

/// A section of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exhibit {
    /// Version of this layout, [`FORMAT`].
    pub format: u32,
    /// What it is about, one word: `importance`, `collisions`, …
    pub kind: String,
    /// Heading.
    pub title: String,
    /// Paragraphs.
    #[serde(default)]
    pub text: Vec<String>,
    /// Pictures.
    #[serde(default)]
    pub charts: Vec<Drawing>,
    /// Tables.
    #[serde(default)]
    pub tables: Vec<Sheet>,
    /// The same as an analysis keeps it, for other programs; a report repeats it in JSON and shows nothing of it.
    #[serde(default)]
    pub facts: serde_json::Value,
}

/// A table; the first column names the row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// What it shows, with units.
    pub caption: String,
    /// Columns, left to right.
    pub columns: Vec<SheetColumn>,
    /// One cell a column each.
    pub rows: Vec<Vec<Entry>>,
}

/// A column of a [`Sheet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SheetColumn {
    /// Short name.
    pub name: String,
    /// What it means, with its unit.
    #[serde(default)]
    pub meaning: String,
}

/// One cell of a [`Sheet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// Not known.
    None,
    /// A number.
    Number(f64),
    /// Words.
    Text(String),
    /// A number and its interval.
    Interval {
        /// The estimate.
        value: f64,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drawing {
    /// Heading.
    pub title: String,
    /// What to look for.
    #[serde(default)]
    pub caption: String,
    /// How points are drawn.
    pub form: Form,
    /// From left to right; of bars, where they end.
    pub x: Extent,
    /// From bottom to top; of bars, what they name.
    pub y: Extent,
    /// What is told apart by color.
    pub series: Vec<DrawnSeries>,
}

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One line a category from top to bottom, with a dot and an interval along the horizontal axis; `x` of a point names the
    /// category and `y` is the number.
    Bars,
    /// Points joined from left to right, intervals as whiskers.
    Lines,
    /// Points alone.
    Dots,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// What it shows, with its unit.
    pub label: String,
    /// By the logarithm; numbers must be above 0.
    #[serde(default)]
    pub log: bool,
}

/// Points of one color.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrawnSeries {
    /// Name in the legend.
    pub name: String,
    /// Points, left to right or top to bottom.
    pub points: Vec<DrawnPoint>,
}

/// A point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrawnPoint {
    /// Where, or which category.
    pub x: Place,
    /// How much.
    pub y: f64,
    /// Lower end of its interval.
    #[serde(default)]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default)]
    pub high: Option<f64>,
}

/// Where a point stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// At a number.
    Number(f64),
    /// At a category.
    Category(String),
}
