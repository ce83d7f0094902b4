//! A comparison → the sections of its report, in the order a reader wants them. Markdown and HTML show the same ones.

use serde::Serialize;

use super::charts::{self, Value};
use super::exhibit::{Drawing, Exhibit, Form};
use super::tables;
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::reliability::SliceReliability;
use crate::learn::experiment::compare::sliced::{Sliced, SlicedBy};
use crate::learn::experiment::compare::summary::ModelSummary;
use crate::learn::experiment::compare::verdict::thousands;

/// One section.
#[derive(Debug, Default, Serialize)]
pub(super) struct Section {
    /// Heading.
    pub(super) title: String,
    /// Paragraphs before everything else.
    pub(super) text: Vec<String>,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
    /// What is folded away until someone asks for it.
    pub(super) folded: Vec<Folded>,
    /// Text to be shown as it stands, such as a recipe.
    pub(super) verbatim: Option<String>,
}

/// Pictures and tables under a name.
#[derive(Debug, Serialize)]
pub(super) struct Folded {
    pub(super) title: String,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
}

/// A picture.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What to look for.
    pub(super) caption: String,
    /// SVG text.
    #[serde(skip)]
    pub(super) svg: String,
    /// Name and color class of what is drawn, in the order of the series' numbers in the SVG.
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

/// All sections of a report; those without content are left out.
pub(super) fn sections(comparison: &Comparison) -> Vec<Section> {
    let mut sections = vec![
        leaderboard(comparison),
        pairs(comparison),
        ranking(comparison),
        calibration(comparison),
        slices(comparison),
        time(comparison),
    ];
    sections.extend(comparison.exhibits.iter().map(exhibit));
    sections.extend([auction(comparison), cost(comparison), training(comparison), runs(comparison)]);
    sections.extend([data(comparison), reproduce(comparison)]);
    let filled = |section: &Section| {
        let Section { charts, tables, folded, verbatim, .. } = section;
        !charts.is_empty() || !tables.is_empty() || !folded.is_empty() || verbatim.is_some()
    };
    sections.retain(filled);
    sections
}

fn section(title: &str, text: &[&str]) -> Section {
    Section { title: title.into(), text: text.iter().map(|line| (*line).into()).collect(), ..Section::default() }
}

fn chart(title: &str, caption: impl Into<String>, svg: String, legend: Vec<(String, String)>) -> Chart {
    Chart { title: title.into(), caption: caption.into(), svg, legend }
}

/// All models and their colors.
fn legend(comparison: &Comparison) -> Vec<(String, String)> {
    let models = comparison.models.iter().enumerate();
    models.map(|(at, model)| (model.name.clone(), charts::series_class(at))).collect()
}

fn leaderboard(comparison: &Comparison) -> Section {
    let mut section = section("Leaderboard", &[]);
    if let Some(truth) = comparison.truth_log_loss {
        section.text.push(format!(
            "The true click probabilities are known: they score {truth:.5} nats, and no model can be expected to score less. \
             Excess is the log loss above that."
        ));
    }
    section.text.push("± is the standard deviation over seeds; a model with one seed has none.".into());
    let first = charts::first_runs(&comparison.models);
    section.charts = vec![
        chart(
            "Distance from the best model",
            format!(
                "Difference in test {} with {:.0} % intervals. An interval that crosses the line at 0 is no proven \
                 difference. Arrows: far beyond the axis.",
                comparison.rules.metric.name(),
                comparison.bootstrap.confidence * 100.0
            ),
            charts::differences(&comparison.models, comparison.rules.metric),
            Vec::new(),
        ),
        chart(
            "Reliability",
            "Calibrated probabilities lie on the dashed line. Bins of equal mass with 95 % intervals, test rows, first seed.",
            charts::reliability(&first, true),
            legend(comparison),
        ),
        chart(
            "Cost and quality",
            "Left and low is good. The dashed line joins models that can be published and that none beats in both; circles \
             without a filling are references. Upright lines: interval of the difference from the best.",
            charts::frontier(&comparison.models, 100),
            legend(comparison),
        ),
    ];
    section.tables = vec![tables::leaderboard(comparison)];
    section
}

fn pairs(comparison: &Comparison) -> Section {
    let mut section = section("Differences", &[]);
    let reach = match comparison.critical {
        Some(critical) => {
            format!("they reach {critical:.2} standard errors where those of one pair would reach 1.96 at 95 %")
        }
        None => "there are too few rows for them".into(),
    };
    section.text = vec![
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
    if comparison.folds.len() > 1 {
        section.text.push(format!(
            "The test rows of {} rolling folds are judged together; each was predicted by models that learned from rows before it.",
            comparison.folds.len()
        ));
    }
    section.tables = tables::pairs(comparison);
    section.tables.extend(tables::variances(comparison));
    section
}

fn ranking(comparison: &Comparison) -> Section {
    let mut section = section("Ranking", &["First seed of each model, test rows."]);
    let first = charts::first_runs(&comparison.models);
    let legend = legend(comparison);
    section.charts = vec![
        chart("ROC", "Higher is better; the dashed line is chance.", charts::roc(&first), legend.clone()),
        chart(
            "Precision and recall",
            "Higher is better; the dashed line is the click-through rate, which chance gives.",
            charts::precision_recall(&first),
            legend.clone(),
        ),
        chart(
            "Lift",
            "How many times the average click rate the highest scores have.",
            charts::lift(&first),
            legend.clone(),
        ),
        chart("Gain", "Share of all clicks that the highest scores hold.", charts::gain(&first), legend),
    ];
    section
}

fn calibration(comparison: &Comparison) -> Section {
    let mut section = section(
        "Calibration",
        &[
            "The calibrator is fitted on the validation rows and chosen by cross-validated log loss there. PCOC is predicted \
           clicks over clicks on the test rows: 1 is right on average, 1.1 bids a tenth too high.",
        ],
    );
    let first = charts::first_runs(&comparison.models);
    if comparison.models.iter().any(|model| !model.reliability_before.is_empty()) {
        section.charts.push(chart(
            "Reliability before calibration",
            "What the models said before their calibrators; bins of equal mass with 95 % intervals, test rows, first seed.",
            charts::reliability(&first, false),
            legend(comparison),
        ));
    }
    let winner = comparison.winner.as_ref();
    let shown = winner.and_then(|winner| comparison.models.iter().find(|model| model.name == winner.model));
    // A model that gives all rows one score has no picture.
    let varied = |model: &&ModelSummary| model.runs.last().is_some_and(|run| run.record.test_scores.len() > 2);
    let shown = shown.filter(varied).or(comparison.models.first());
    let run = shown.and_then(|model| Some((&model.name, model.runs.last()?)));
    if let Some((name, svg)) = run.and_then(|(name, run)| Some((name, charts::scores(&run.record)?))) {
        section.charts.push(chart(
            "Scores",
            format!("Probabilities of {name} on the test rows, on the log-odds scale; the bars of each outline add up to 100 %."),
            svg,
            vec![("without click".into(), "s0".into()), ("with click".into(), "s1".into())],
        ));
    }
    section.tables = vec![tables::calibration(comparison)];
    section
}

fn slices(comparison: &Comparison) -> Section {
    let mut section = section(
        "Slices",
        &[
            "Differences from the best model are drawn to what all slices of a cutting show (empirical Bayes), so that tiny slices \
           do not shout; means over seeds. Intervals are for one slice at a time: of many slices, some stand out by chance.",
        ],
    );
    let cuttings: Vec<&Sliced> =
        comparison.sliced.iter().filter(|sliced| !matches!(sliced.by, SlicedBy::Time | SlicedBy::Age)).collect();
    let winner = comparison.winner.as_ref();
    let winner = winner.and_then(|winner| comparison.models.iter().position(|model| model.name == winner.model));
    let at = winner.filter(|at| *at > 0).unwrap_or(1);
    if let Some(svg) = charts::forest(&comparison.models, &cuttings, at) {
        let caption = format!(
            "{} against {}, the slices that stand out most. Left of the line {} is better.",
            comparison.models[at].name, comparison.models[0].name, comparison.models[at].name
        );
        section.charts.push(chart("Where they differ", caption, svg, Vec::new()));
    }
    section.tables.extend(tables::largest(comparison, &cuttings));
    let fold = |sliced: &&Sliced| Folded {
        title: format!("By {}", sliced.by.title()),
        charts: slice_reliability(comparison, &sliced.by).map(in_slice).collect(),
        tables: tables::slicing(comparison, sliced)
            .into_iter()
            .chain(tables::reliability(slice_reliability(comparison, &sliced.by)))
            .collect(),
    };
    section.folded = cuttings.iter().map(fold).collect();
    section
}

/// Reliability in the slices of one cutting.
fn slice_reliability<'c>(comparison: &'c Comparison, by: &SlicedBy) -> impl Iterator<Item = &'c SliceReliability> {
    comparison.slice_reliability.iter().filter(move |slice| slice.by == *by)
}

fn in_slice(slice: &SliceReliability) -> Chart {
    let (svg, legend) = charts::reliability_in(slice);
    let caption = format!(
        "Reliability of the models that lead in the {} test rows of this slice, after and, dashed, before calibration; bins of \
         equal mass with 95 % intervals, first seed.",
        thousands(slice.rows)
    );
    chart(&format!("{}: {}", slice.by.title(), slice.slice), caption, svg, legend)
}

fn time(comparison: &Comparison) -> Section {
    let mut section = section(
        "Time",
        &[
            "Test rows in the order of time, means over seeds. A loss that rises with the age of the model says how often to train.",
        ],
    );
    let models = &comparison.models;
    let sliced = |by: SlicedBy| comparison.sliced.iter().find(|sliced| sliced.by == by);
    let mut add = |title: &str, caption: &str, svg: Option<String>| {
        section.charts.extend(svg.map(|svg| chart(title, caption, svg, legend(comparison))));
    };
    if let Some(by_time) = sliced(SlicedBy::Time) {
        add(
            "Loss over time",
            "Progressive log loss on the test rows.",
            charts::over_time(models, by_time, Value::LogLoss),
        );
        let caption = "Below the line a model is better than the best one of the leaderboard at that time; intervals are for one \
                       point at a time.";
        if models.len() > 1 {
            add("Difference over time", caption, charts::over_time(models, by_time, Value::MinusBest));
        }
        let caption = "Predicted clicks over clicks; 1 is calibrated.";
        add("Calibration over time", caption, charts::over_time(models, by_time, Value::Pcoc));
    }
    if let Some(by_age) = sliced(SlicedBy::Age).filter(|_| comparison.folds.len() > 1) {
        let caption =
            "Folds are laid over each other: each row stands at the time since the last training row of its fold.";
        add("Loss against the age of the model", caption, charts::over_time(models, by_age, Value::LogLoss));
    }
    let tables = [SlicedBy::Time, SlicedBy::Age].into_iter().filter_map(sliced);
    let fold = |sliced: &Sliced| Folded {
        title: format!("By {}", sliced.by.title()),
        charts: Vec::new(),
        tables: vec![tables::over_time(comparison, sliced)],
    };
    section.folded = tables.map(fold).collect();
    section
}

fn exhibit(exhibit: &Exhibit) -> Section {
    Section {
        title: exhibit.title.clone(),
        text: exhibit.text.clone(),
        charts: exhibit.charts.iter().filter_map(drawn).collect(),
        tables: exhibit.tables.iter().map(tables::sheet).collect(),
        ..Section::default()
    }
}

fn drawn(drawing: &Drawing) -> Option<Chart> {
    let svg = charts::drawing(drawing)?;
    let names = drawing.series.iter().enumerate();
    let legend: Vec<_> = names.map(|(at, series)| (series.name.clone(), charts::series_class(at))).collect();
    // One series of bars needs no name beside the heading.
    let alone = legend.len() == 1 && drawing.form == Form::Bars;
    Some(chart(&drawing.title, drawing.caption.clone(), svg, if alone { Vec::new() } else { legend }))
}

fn auction(comparison: &Comparison) -> Section {
    let Some(report) = &comparison.auction else { return Section::default() };
    let mut section =
        section("Auction", &["What the bids of each model would have won, spent and earned on the test rows."]);
    section.text.extend(report.verdicts());
    section.charts = report.drawings().iter().filter_map(drawn).collect();
    section.tables = tables::auction(report);
    section
}

fn cost(comparison: &Comparison) -> Section {
    let mut section = section(
        "Cost",
        &[
            "Scoring is timed from encoded rows to calibrated probabilities on one thread, warm; the median over seeds of the 99th \
           percentile is shown.",
        ],
    );
    let notes =
        comparison.models.iter().flat_map(|model| model.notes.iter().map(|note| format!("{}: {note}.", model.name)));
    section.text.extend(notes);
    section.tables = vec![tables::cost(comparison)];
    section
}

fn training(comparison: &Comparison) -> Section {
    let mut section = section("Training", &[]);
    let first = charts::first_runs(&comparison.models);
    if let Some(svg) = charts::training(&first) {
        let legend = legend(comparison).into_iter().zip(&comparison.models);
        // Models without a curve keep their number, so that a legend's number is that of its series.
        let legend = legend.map(|((name, class), model)| {
            let learns = model.runs.first().is_some_and(|run| charts::learns(&run.record));
            if learns { (name, class) } else { (String::new(), class) }
        });
        section.charts.push(chart(
            "Training",
            "Lines: log loss on training rows, each predicted before it was learned from. Dots: log loss on the validation rows, \
             before calibration. First seed.",
            svg,
            legend.collect(),
        ));
    }
    section.tables = tables::tried(comparison);
    if !section.tables.is_empty() {
        section.text.push(
            "Points are chosen on validation rows only, with several folds on those of the first one; test rows decided nothing."
                .into(),
        );
    }
    section
}

fn runs(comparison: &Comparison) -> Section {
    let mut section = section("Every run", &["One line for each model, seed and fold, on the test rows."]);
    section.tables = vec![tables::runs(comparison)];
    section
}

fn data(comparison: &Comparison) -> Section {
    let data = &comparison.data;
    let mut section = section("Data", &[]);
    section.text.push(format!("Schema {}, data {}, split {}.", data.schema, data.fingerprint, data.split));
    if data.bad_rows > 0 {
        section.text.push(format!("{} rows could not be read and were left out.", thousands(data.bad_rows)));
    }
    section.tables = vec![tables::data(&comparison.folds)];
    section.tables.extend(comparison.card.as_ref().map(tables::features));
    section
}

fn reproduce(comparison: &Comparison) -> Section {
    let recipe = |experiment: &crate::learn::experiment::ExperimentRecord| {
        format!("# {}\n{}", experiment.name, experiment.recipe.trim_end())
    };
    let recipes: Vec<String> = comparison.experiments.iter().map(recipe).collect();
    let mut section = section("Reproduce", if recipes.is_empty() { &[] } else { &["The recipe as it was used:"] });
    section.tables = vec![tables::reproduce(comparison)];
    section.verbatim = (!recipes.is_empty()).then(|| recipes.join("\n\n"));
    section
}
