//! Sections → one HTML file that needs nothing else.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use super::content::sections;
use crate::error::{Error, Result};
use crate::learn::experiment::Comparison;

const TEMPLATE: &str = include_str!("template.html");

/// The report as HTML.
///
/// # Errors
/// Bug when the template does not fit the content.
pub fn html(comparison: &Comparison) -> Result<String> {
    let failed = |error: minijinja::Error| Error::Bug(format!("report template: {error:#}"));
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?);
    // The name ends in .html, so everything is escaped but what is marked as safe: charts escape on their own.
    environment.add_template("report.html", TEMPLATE).map_err(failed)?;
    let sections: Vec<Value> = sections(comparison)
        .into_iter()
        .map(|section| {
            let charts: Vec<Value> = section
                .charts
                .into_iter()
                .map(|chart| {
                    let svg = Value::from_safe_string(chart.svg);
                    context! { title => chart.title, caption => chart.caption, svg, legend => Serde(chart.legend) }
                })
                .collect();
            let id = section.title.to_lowercase().replace(' ', "-");
            let tables = Serde(&section.tables);
            context! { id, title => section.title, text => section.text, charts, tables, verbatim => section.verbatim }
        })
        .collect();
    let page = context! {
        title => comparison.title.clone(),
        question => comparison.question.clone(),
        verdict => comparison.verdict.clone(),
        reason => comparison.reason.clone(),
        notes => comparison.notes.clone(),
        pctr => env!("CARGO_PKG_VERSION"),
        sections,
    };
    environment.get_template("report.html").and_then(|template| template.render(page)).map_err(failed)
}
