//! How far a command is, on standard error, for people: hidden when nobody looks or `--quiet` asks for it.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Context;

/// What all bars are drawn on, one below the other.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)));

/// Where bars are drawn; nowhere when `context` is quiet.
pub(crate) fn bars(context: &Context) -> MultiProgress {
    match context.quiet {
        true => MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        false => BARS.clone(),
    }
}

/// Standard error for notes and logs: what is written stands above the bars, which would be torn otherwise. Whole lines only.
#[derive(Debug)]
pub(crate) struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write_all(text)).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A bar over `total` units (rows or bytes); an unknown total shows a counter.
pub(crate) fn bar(context: &Context, what: &str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = bars(context).add(ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()));
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
