//! `pctr inspect`: what stands in logs, field by field, and what the encoder makes of it.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};

use super::progress::{self, Unit};
use super::{Context, print, schema};
use crate::error::{Error, Result};
use crate::learn::inspect::{Distinct, FieldInspection, Inspection, inspect};
use crate::learn::source::Input;

/// Show the fields of logs: cardinality, missing share, frequent values, CTR, and what the encoder does with them.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Logs: text (plain, gzip, zstd) or Parquet; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Preset (criteo, avazu, demo) or file of the logs' schema.
    #[arg(long, short)]
    schema: String,
    /// Share of bad rows that is borne, 0 to 1; 1 shows them all.
    #[arg(long, default_value_t = 1.0)]
    max_bad_rows: f64,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let schema = schema(&self.schema)?;
        let inputs: Vec<Input> = self.files.iter().map(Input::new).collect();
        let total = inputs.iter().map(Input::bytes).collect::<Result<Option<Vec<u64>>>>()?;
        let bar = progress::bar(context, "inspect", Unit::Bytes, total.map(|sizes| sizes.iter().sum()));
        let mut on_progress = |at: crate::learn::source::Progress| bar.set_position(at.bytes);
        let inspection = inspect(&inputs, &schema, self.max_bad_rows, &mut on_progress, &context.interrupt);
        bar.finish_and_clear();
        let inspection = inspection?;
        if self.json {
            let json = serde_json::to_string_pretty(&inspection).map_err(|error| Error::Bug(error.to_string()))?;
            return print(&format!("{json}\n"));
        }
        print(&text(&inspection))
    }
}

/// The inspection as people read it.
fn text(seen: &Inspection) -> String {
    let mut lines =
        vec![format!("{} rows by schema {}, {} clicks, CTR {:.4}", seen.rows, seen.schema, seen.clicks, seen.ctr)];
    if let Some(time) = seen.time {
        let order = if time.sorted { "in time order" } else { "not in time order" };
        lines.push(format!("time       {} to {}, {order}", moment(time.first), moment(time.last)));
    }
    if let Some(groups) = seen.groups {
        let rows = seen.rows as f64 / groups.count.max(1) as f64;
        lines.push(format!("groups     {}, {rows:.1} rows each", count(groups)));
    }
    if let Some(weight) = seen.weight {
        lines.push(format!("weight     {weight} in all"));
    }
    lines.push(format!("bad rows   {}", seen.bad_rows.count));
    lines.extend(seen.bad_rows.by_expectation.iter().map(|(what, count)| format!("  {count} × expected {what}")));
    lines.extend(seen.bad_rows.examples.iter().map(|example| format!("  {example}")));
    lines.push(fields(&seen.fields).to_string());
    lines.push(format!(
        "encoded    {} codes a row; fits --set bits={} (four slots a value) or --set min_count={}",
        seen.width, seen.recommended.hash_bits, seen.recommended.min_count
    ));
    lines.join("\n") + "\n"
}

fn fields(fields: &[FieldInspection]) -> Table {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let ctr = |ctr: Option<f64>| ctr.map_or("-".into(), |ctr| format!("{ctr:.4}"));
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["field", "missing", "CTR", "CTR if missing", "values", "encoder", "frequent (share, CTR)"]);
    for field in fields {
        let top = field.top.iter().take(3);
        let top = top.map(|value| format!("{} ({}, {:.3})", shortened(&value.value), percent(value.share), value.ctr));
        let range = field.numbers.map(|numbers| format!(", {} to {}", numbers.min, numbers.max)).unwrap_or_default();
        table.add_row([
            field.name.clone(),
            percent(field.missing_share),
            ctr(field.ctr),
            ctr(field.missing_ctr),
            count(field.distinct),
            field.encoding.clone() + &range,
            top.collect::<Vec<_>>().join("  "),
        ]);
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn count(distinct: Distinct) -> String {
    if distinct.exact { distinct.count.to_string() } else { format!("~{}", distinct.count) }
}

fn shortened(value: &str) -> String {
    const SHOWN: usize = 16;
    match value.char_indices().nth(SHOWN) {
        None => value.escape_debug().to_string(),
        Some((end, _)) => format!("{}…", value[..end].escape_debug()),
    }
}

/// A time as a date where it is one.
fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
