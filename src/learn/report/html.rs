//! Sections → one HTML file that needs nothing else.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use super::content::{Chart, Folded, Section, sections};
use crate::error::{Error, Result};
use crate::learn::experiment::Comparison;

const TEMPLATE: &str = include_str!("template.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

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
    let mut ids: Vec<String> = Vec::new();
    let sections: Vec<Value> = sections(comparison)
        .into_iter()
        .map(|section| {
            let Section { title, text, charts, tables, folded, verbatim } = section;
            let charts: Vec<Value> = charts.into_iter().map(of_chart).collect();
            let id = unique_id(&title, &mut ids);
            let folded: Vec<Value> = folded.into_iter().map(of_folded).collect();
            context! { id, title, text, charts, tables => Serde(&tables), folded, verbatim }
        })
        .collect();
    let page = context! {
        title => comparison.title.clone(),
        question => comparison.question.clone(),
        verdict => comparison.verdict.clone(),
        reason => comparison.reason.clone(),
        notes => comparison.notes.clone(),
        pctr => env!("CARGO_PKG_VERSION"),
        css => Value::from_safe_string(CSS.into()),
        js => Value::from_safe_string(JS.into()),
        sections,
    };
    environment.get_template("report.html").and_then(|template| template.render(page)).map_err(failed)
}

fn of_folded(folded: Folded) -> Value {
    let Folded { title, charts, tables } = folded;
    let charts: Vec<Value> = charts.into_iter().map(of_chart).collect();
    context! { title, charts, tables => Serde(&tables) }
}

fn of_chart(chart: Chart) -> Value {
    let Chart { title, caption, svg, legend } = chart;
    // An entry's number is that of its series in the picture.
    let legend: Vec<(String, String, usize)> =
        legend.into_iter().enumerate().map(|(at, (name, class))| (name, class, at)).collect();
    context! { title, caption, svg => Value::from_safe_string(svg), legend => Serde(legend) }
}

/// A name for links, of letters, digits and dashes.
fn unique_id(title: &str, taken: &mut Vec<String>) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let mut id: String = title.chars().map(plain).collect();
    while taken.contains(&id) {
        id.push_str("-more");
    }
    taken.push(id.clone());
    id
}
