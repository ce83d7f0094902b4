//! A comparison → the sections of its report, in the order a reader wants them. Markdown and HTML show the same ones.

use serde::Serialize;

use super::charts;
use super::tables;
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::verdict::thousands;

/// One section.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    /// Heading.
    pub(super) title: &'static str,
    /// Paragraphs before everything else.
    pub(super) text: Vec<String>,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
    /// Text to be shown as it stands, such as a recipe.
    pub(super) verbatim: Option<String>,
}

/// A picture.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What to look for.
    pub(super) caption: String,
    /// SVG text.
    #[serde(skip)]
    pub(super) svg: String,
    /// Name and color class of what is drawn.
    pub(super) legend: Vec<(String, String)>,
}

/// A table; the first column names the row.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) caption: String,
    /// Short name of each column, and what it means.
    pub(super) columns: Vec<(String, String)>,
    pub(super) rows: Vec<Vec<String>>,
    /// The row to be shown as the winner.
    pub(super) marked: Option<usize>,
}

/// All sections of a report.
pub(super) fn sections(comparison: &Comparison) -> Vec<Section> {
    let mut sections = vec![leaderboard(comparison), pictures(comparison), pairs(comparison), cost(comparison)];
    let calibration = tables::calibration(comparison);
    sections.push(Section {
        title: "Calibration",
        text: vec![
            "The calibrator is fitted on the validation rows and chosen by cross-validated log loss there. PCOC is predicted \
             clicks over clicks on the test rows: 1 is right on average, 1.1 bids a tenth too high."
                .into(),
        ],
        charts: Vec::new(),
        tables: vec![calibration],
        verbatim: None,
    });
    if let Some(grids) = tables::grids(comparison) {
        sections.push(Section {
            title: "What was tried",
            text: vec![
                "Points of a grid are chosen on the validation rows only; test rows decided nothing. The losses are \
                 cross-validated over the calibrator."
                    .into(),
            ],
            charts: Vec::new(),
            tables: grids,
            verbatim: None,
        });
    }
    sections.push(Section {
        title: "Every run",
        text: vec!["One line for each model and seed, on the test rows.".into()],
        charts: Vec::new(),
        tables: vec![tables::runs(comparison)],
        verbatim: None,
    });
    sections.push(data(comparison));
    sections.push(reproduce(comparison));
    sections
}

fn leaderboard(comparison: &Comparison) -> Section {
    let mut text = Vec::new();
    if let Some(truth) = comparison.truth_log_loss {
        text.push(format!(
            "The true click probabilities are known: they score {truth:.5} nats, and no model can be expected to score less. \
             Excess is the log loss above that."
        ));
    }
    let seeds = "± is the standard deviation over seeds; a model with one seed has none.";
    let chart = Chart {
        title: "Distance from the best model",
        caption: format!(
            "Difference in test {} with {:.0} % intervals. An interval that crosses the line at 0 is no proven \
             difference. Arrows: far beyond the axis.",
            comparison.rules.metric.name(),
            comparison.bootstrap.confidence * 100.0
        ),
        svg: charts::differences(&comparison.models, comparison.rules.metric),
        legend: Vec::new(),
    };
    text.push(seeds.into());
    Section {
        title: "Leaderboard",
        text,
        charts: vec![chart],
        tables: vec![tables::leaderboard(comparison)],
        verbatim: None,
    }
}

fn pictures(comparison: &Comparison) -> Section {
    let series = charts::first_runs(&comparison.models);
    let legend = |names: &mut dyn Iterator<Item = (usize, &str)>| {
        names.map(|(at, name)| (name.to_owned(), charts::series_class(at))).collect::<Vec<_>>()
    };
    let all = || legend(&mut comparison.models.iter().enumerate().map(|(at, model)| (at, model.name.as_str())));
    let mut pictures = vec![
        Chart {
            title: "Reliability",
            caption:
                "Calibrated probabilities lie on the dashed line. Bins of equal mass with 95 % intervals, test rows, \
                      first seed."
                    .into(),
            svg: charts::reliability(&series),
            legend: all(),
        },
        Chart {
            title: "ROC",
            caption: "Higher is better; the dashed line is chance. Test rows, first seed.".into(),
            svg: charts::roc(&series),
            legend: all(),
        },
    ];
    if let Some(svg) = charts::training(&series) {
        let learners = comparison
            .models
            .iter()
            .enumerate()
            .filter(|(_, model)| model.runs.first().is_some_and(|run| charts::learns(&run.record)));
        pictures.push(Chart {
            title: "Training",
            caption:
                "Lines: log loss on training rows, each predicted before it was learned from. Dots: log loss on the \
                      validation rows, before calibration. First seed."
                    .into(),
            svg,
            legend: legend(&mut learners.map(|(at, model)| (at, model.name.as_str()))),
        });
    }
    let shown = comparison.winner.as_ref().and_then(|winner| {
        let model = comparison.models.iter().find(|model| model.name == winner.model)?;
        model.runs.iter().find(|run| run.record.seed == winner.seed).map(|run| (&model.name, &run.record))
    });
    let shown = shown.or_else(|| {
        comparison.models.first().and_then(|model| model.runs.first().map(|run| (&model.name, &run.record)))
    });
    if let Some((name, svg)) = shown.and_then(|(name, run)| charts::scores(run).map(|svg| (name, svg))) {
        pictures.push(Chart {
            title: "Scores",
            caption: format!(
                "Probabilities of {name} on the test rows, on the log-odds scale; the bars of each outline add up to 100 %."
            ),
            svg,
            legend: vec![("without click".into(), "s0".into()), ("with click".into(), "s1".into())],
        });
    }
    Section { title: "Pictures", text: Vec::new(), charts: pictures, tables: Vec::new(), verbatim: None }
}

fn pairs(comparison: &Comparison) -> Section {
    let reach = match comparison.critical {
        Some(critical) => {
            format!("they reach {critical:.2} standard errors where those of one pair would reach 1.96 at 95 %")
        }
        None => "there are too few rows for them".into(),
    };
    let text = vec![
        format!(
            "Differences of the means over seeds, with {:.0} % intervals from a paired block bootstrap over test rows ({} \
             resamples; {}). An interval covers the choice of test rows and, where a model has several seeds, the variance of its \
             mean over seeds that test rows do not explain. Differences of {} below {:.5} are taken not to matter (the recipe's \
             margin).",
            comparison.bootstrap.confidence * 100.0,
            thousands(comparison.bootstrap.rounds as u64),
            comparison.blocks,
            comparison.rules.metric.name(),
            comparison.margin
        ),
        format!(
            "The intervals of one metric hold together for all pairs of models (largest studentized error): {reach}."
        ),
    ];
    Section { title: "Differences", text, charts: Vec::new(), tables: tables::pairs(comparison), verbatim: None }
}

fn cost(comparison: &Comparison) -> Section {
    let mut text = vec![
        "Scoring is timed from encoded rows to calibrated probabilities on one thread, warm; the median over seeds of the 99th \
         percentile is shown."
            .into(),
    ];
    text.extend(
        comparison.models.iter().flat_map(|model| model.notes.iter().map(|note| format!("{}: {note}.", model.name))),
    );
    Section { title: "Cost", text, charts: Vec::new(), tables: vec![tables::cost(comparison)], verbatim: None }
}

fn data(comparison: &Comparison) -> Section {
    let data = &comparison.data;
    let mut text = vec![format!("Schema {}, data {}, split {}.", data.schema, data.fingerprint, data.split)];
    if data.bad_rows > 0 {
        text.push(format!("{} rows could not be read and were left out.", thousands(data.bad_rows)));
    }
    Section { title: "Data", text, charts: Vec::new(), tables: vec![tables::data(data)], verbatim: None }
}

fn reproduce(comparison: &Comparison) -> Section {
    let recipes: Vec<String> = comparison
        .experiments
        .iter()
        .map(|experiment| format!("# {}\n{}", experiment.name, experiment.recipe.trim_end()))
        .collect();
    Section {
        title: "Reproduce",
        text: vec!["The recipe as it was used:".into()],
        charts: Vec::new(),
        tables: vec![tables::reproduce(comparison)],
        verbatim: (!recipes.is_empty()).then(|| recipes.join("\n\n")),
    }
}
