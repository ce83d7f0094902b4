//! How far a command is, on standard error, for people: hidden when nobody looks or `--quiet` asks for it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Context;

/// A bar over `total` units (rows or bytes); an unknown total shows a counter.
pub(crate) fn bar(context: &Context, what: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
    if context.quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let (position, speed) = match unit {
        Unit::Rows => ("{human_pos}/{human_len} rows", "{per_sec}"),
        Unit::Bytes => ("{bytes}/{total_bytes}", "{bytes_per_sec}"),
        Unit::Pieces => ("{human_pos}/{human_len}", ""),
    };
    let template = match total {
        Some(_) => format!("{{prefix:<12}} {{bar:30}} {position} {speed} {{eta}} {{msg}}"),
        None => format!("{{prefix:<12}} {{spinner}} {position} {speed} {{elapsed}} {{msg}}"),
    };
    let style = ProgressStyle::with_template(&template).expect("the template is well formed");
    bar.set_style(style);
    bar.set_prefix(what.to_owned());
    bar
}

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Rows of a log.
    Rows,
    /// Bytes of a file.
    Bytes,
    /// Pieces of work.
    Pieces,
}
