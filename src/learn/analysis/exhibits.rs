//! What was found → exhibits: the words, tables and drawings that a report shows, with the findings beside them as facts.

use serde::Serialize;

use super::ablation::Ablation;
use super::age::Age;
use super::collisions::Collisions;
use super::disagreements::{Disagreements, Example};
use super::importance::{Importance, UnitImportance};
use super::learning_curve::LearningCurve;
use crate::error::{Error, Result};
use crate::learn::report::exhibit::{
    Drawing, DrawnPoint, DrawnSeries, Entry, Exhibit, Extent, FORMAT, Form, Place, Sheet, SheetColumn,
};
use crate::metrics::bootstrap::Estimate;
use crate::model::features::Mode;

/// Fields that a drawing shows; tables hold all.
const DRAWN: usize = 15;
/// Pieces that a fitted curve is drawn in.
const LAW_STEPS: i32 = 8;
/// Parts of a disagreement that a table shows.
const PARTS: usize = 5;

pub(super) fn importance(found: &[Importance]) -> Result<Exhibit> {
    let first = &found[0];
    let text = vec![format!(
        "Each field was permuted {} times within {} blocks of time, over {} test rows; importance is the log loss that this adds. A \
         field that only tells the time has none. Fields that say the same stand in for each other and look weak one by one: look \
         at their group, or train without them (ablation).",
        first.repeats, first.time_blocks, first.rows
    )];
    let charts = vec![bars(
        "Log loss added by permuting a field",
        "log loss added, nats",
        first.fields.iter().filter(|unit| unit.used).take(DRAWN).map(|unit| unit.name.clone()).collect(),
        found.iter().map(|of| {
            let value = |name: &str| of.fields.iter().find(|unit| unit.name == name).map(|unit| unit.loss_increase);
            (of.model.clone(), Box::new(value) as OfCategory<'_>)
        }),
    )];
    let columns = columns(&[
        ("field", "field, or group of fields permuted together"),
        ("loss added", "log loss permuted minus log loss as it is, nats"),
        ("AUC lost", "AUC as it is minus AUC permuted"),
        ("± permutations", "standard deviation of the loss added from one permutation to the next, nats"),
        ("seen", "whether the model uses it"),
    ]);
    let row = |unit: &UnitImportance| {
        vec![
            Entry::Text(unit.name.clone()),
            entry(&unit.loss_increase),
            unit.auc_drop.as_ref().map_or(Entry::None, entry),
            number(unit.sd_over_repeats),
            Entry::Text(if unit.used { "yes" } else { "no" }.into()),
        ]
    };
    let sheet = |of: &Importance, what: &str, units: &[UnitImportance]| {
        let auc = of.auc.map_or(String::new(), |auc| format!(", AUC {auc:.4}"));
        let caption = format!("{what} of {} (log loss {:.5}{auc} on the {} rows)", of.model, of.log_loss, of.rows);
        Sheet { caption, columns: columns.clone(), rows: units.iter().map(row).collect() }
    };
    let mut tables = Vec::new();
    for of in found {
        tables.push(sheet(of, "Fields", &of.fields));
        if !of.groups.is_empty() {
            tables.push(sheet(of, "Groups of fields", &of.groups));
        }
    }
    exhibit("importance", "Which fields matter", text, charts, tables, found)
}

pub(super) fn ablation(found: &[Ablation]) -> Result<Exhibit> {
    let text = vec![
        "Each model was trained again without a field and its crosses, all else the same. Above zero, the field is worth having; \
         fields that say the same stand in for each other. Intervals are of each field by itself: of forty fields that are worth \
         nothing, two will leave zero out."
            .to_owned(),
    ];
    let names = found[0].without.iter().take(DRAWN).map(|without| without.name.clone()).collect();
    let chart = bars(
        "Log loss added by training without a field",
        "log loss added, nats",
        names,
        found.iter().map(|of| {
            let value = |name: &str| of.without.iter().find(|without| without.name == name).map(|of| of.difference);
            (of.model.clone(), Box::new(value) as OfCategory<'_>)
        }),
    );
    let tables = found.iter().map(|of| Sheet {
        caption: format!(
            "{} without a field; with all fields its log loss is {:.5} ({})",
            of.model,
            of.log_loss,
            seeds(&of.seeds)
        ),
        columns: columns(&[
            ("without", "field, or group of fields left out together"),
            ("loss added", "log loss without minus log loss with, nats"),
            ("log loss", "without it, nats"),
        ]),
        rows: (of.without.iter())
            .map(|of| vec![Entry::Text(of.name.clone()), entry(&of.difference), Entry::Number(of.log_loss)])
            .collect(),
    });
    let tables = tables.collect();
    exhibit("ablation", "Training without a field", text, vec![chart], tables, found)
}

pub(super) fn learning_curve(found: &[LearningCurve]) -> Result<Exhibit> {
    let mut text = vec![
        "Each model was trained on the latest share of the training rows; the test rows stay the same. A power law is \
         fitted to the points and drawn up to twice the rows: what it says there holds if new rows are like these."
            .to_owned(),
    ];
    for of in found {
        let Some((law, gain)) = of.power_law.zip(of.gain_of_doubling) else { continue };
        text.push(format!(
            "{}: twice the rows would take {} nats off the log loss (floor {:.4}, exponent {:.2}).",
            of.model,
            in_words(&gain),
            law.floor,
            law.exponent
        ));
    }
    let points = found.iter().map(|of| DrawnSeries {
        name: of.model.clone(),
        points: of.points.iter().filter_map(|point| drawn(Place::Number(point.rows as f64), &point.log_loss)).collect(),
    });
    let laws = found.iter().filter_map(|of| {
        let (law, least) = (of.power_law?, of.points.first()?.rows as f64);
        // Evenly in the logarithm, up to twice the rows.
        let at = |step: i32| least * (2.0 * law.rows / least).powf(f64::from(step) / f64::from(LAW_STEPS));
        let point = |rows: f64| DrawnPoint { x: Place::Number(rows), y: law.at(rows), low: None, high: None };
        let points = (0..=LAW_STEPS).map(|step| point(at(step))).collect();
        Some(DrawnSeries { name: format!("{}, power law", of.model), points })
    });
    let chart = Drawing {
        title: "Log loss by training rows".into(),
        caption: "Lower is better; whiskers are intervals over test rows, which all points share.".into(),
        form: Form::Lines,
        x: Extent { label: "training rows".into(), log: true },
        y: Extent { label: "log loss, nats".into(), log: false },
        series: points.chain(laws).collect(),
    };
    let tables = found.iter().map(|of| Sheet {
        caption: format!("Learning curve of {} ({})", of.model, seeds(&of.seeds)),
        columns: columns(&[
            ("rows", "training rows, the latest ones"),
            ("share", "of all training rows"),
            ("log loss", "on the test rows, nats"),
            ("above the most rows", "log loss minus log loss with the most rows, paired by row, nats"),
        ]),
        rows: (of.points.iter())
            .map(|point| {
                vec![
                    Entry::Number(point.rows as f64),
                    Entry::Number(point.share),
                    entry(&point.log_loss),
                    entry(&point.above_most),
                ]
            })
            .collect(),
    });
    let tables = tables.collect();
    exhibit("learning-curve", "What more rows would bring", text, vec![chart], tables, found)
}

pub(super) fn collisions(found: &[Collisions]) -> Result<Exhibit> {
    let mut text = Vec::new();
    for of in found {
        let table = match of.mode {
            Mode::Hash { bits } => format!("a hash table of 2^{bits} slots"),
            Mode::Vocabulary { min_count: 1 } => "a vocabulary with a slot for every value".to_owned(),
            Mode::Vocabulary { min_count } => {
                format!(
                    "a vocabulary of values seen at least {min_count} times, where the others share a slot by field"
                )
            }
        };
        let cost = match &of.cost {
            Some(cost) => format!(
                " Trained again with a slot for every value, its log loss is {:.5} instead of {:.5}: sharing slots costs {} nats.",
                cost.log_loss_without,
                cost.log_loss,
                in_words(&cost.difference)
            ),
            None => String::new(),
        };
        let (values, slots) = (of.values, of.slots);
        text.push(format!(
            "{} has {table}. {values} different values of the training rows have {slots} slots.{cost}",
            of.model
        ));
    }
    let percent = |share: f64| Entry::Number(100.0 * share);
    let tables = found.iter().map(|of| {
        let mut named = vec![
            ("field", "field, or a cross of fields"),
            ("values", "different values in the training rows"),
            ("slots", "different slots they have"),
            ("shared within, %", "values whose slot another value of the same field has too"),
            ("shared, %", "values whose slot any other value has too"),
            ("rows, %", "occurrences in the training rows at a shared slot"),
        ];
        if of.cost.is_some() {
            named.push((
                "cost on such rows",
                "log loss minus that without collisions on test rows with a shared slot here, nats",
            ));
        }
        Sheet {
            caption: format!("Values that share a slot in the table of {}", of.model),
            rows: (of.fields.iter())
                .map(|field| {
                    let mut row = vec![
                        Entry::Text(field.name.clone()),
                        Entry::Number(field.values as f64),
                        Entry::Number(field.slots as f64),
                        percent(field.shared_within),
                        percent(field.shared_with_any),
                        percent(field.shared_rows),
                    ];
                    row.extend(of.cost.iter().map(|_| field.cost_on_shared_rows.as_ref().map_or(Entry::None, entry)));
                    row
                })
                .collect(),
            columns: columns(&named),
        }
    });
    let tables = tables.collect();
    exhibit("collisions", "Values that share a slot", text, Vec::new(), tables, found)
}

pub(super) fn disagreements(found: &[Disagreements]) -> Result<Exhibit> {
    let text = vec![
        "Rows are ranked by the distance of the two calibrated log-odds. The fields shown are those whose parts of the two logits \
         differ most: exact weights for a linear model; for a network, the logit minus the logit with the field missing, which \
         counts what fields say together in each of them."
            .to_owned(),
    ];
    let tables = found.iter().map(|pair| {
        let row = |example: &Example| {
            let parts = example.parts.iter().take(PARTS).map(|part| {
                let value = part.value.as_ref().map_or(String::new(), |value| format!(" = {value}"));
                format!("{}{value} ({:+.2}, {:+.2})", part.field, part.a, part.b)
            });
            vec![
                Entry::Number(example.row as f64),
                Entry::Text(if example.click { "yes" } else { "no" }.into()),
                Entry::Number(example.p_a),
                Entry::Number(example.p_b),
                Entry::Number(example.difference),
                Entry::Text(parts.collect::<Vec<_>>().join("; ")),
            ]
        };
        let [half, most, nearly_all] = pair.quantiles;
        Sheet {
            caption: format!(
                "Where {} and {} disagree most. Over all {} rows their log-odds are more than {half:.3} apart in half of them, more than \
                 {most:.3} in a tenth, more than {nearly_all:.3} in a hundredth",
                pair.a, pair.b, pair.rows
            ),
            columns: columns(&[
                ("row", "number of the row in the prepared data"),
                ("click", "whether it was clicked"),
                (&pair.a, "its probability"),
                (&pair.b, "its probability"),
                ("difference", "log-odds of the first minus those of the second"),
                ("fields", "field = value (part of the first logit, of the second)"),
            ]),
            rows: pair.examples.iter().map(row).collect(),
        }
    });
    let tables = tables.collect();
    exhibit("disagreements", "Where models disagree most", text, Vec::new(), tables, found)
}

pub(super) fn age(found: &Age) -> Result<Exhibit> {
    let mut text = vec![match (found.bucket_seconds, found.trained_until) {
        (None, _) => "The rows have no time: buckets count test rows in their order.".to_owned(),
        (Some(_), None) => {
            "Age is counted from the first test row, because the training rows are not known here.".to_owned()
        }
        (Some(_), Some(_)) => "Age is the time since the last training row.".to_owned(),
    }];
    for of in &found.models {
        let Some(trend) = &of.trend else { continue };
        let above = of.trend_above_constant.as_ref().map_or(String::new(), |above| {
            format!("; above a constant prediction, which sees the same rows, {}", in_words(above))
        });
        text.push(format!("{}: each day of age adds {} nats of log loss{above}.", of.model, in_words(trend)));
    }
    let x = |at: usize| {
        found.buckets[at].age_hours.unwrap_or(match found.bucket_seconds {
            Some(_) => (found.buckets[at].from - found.buckets[0].from) as f64 / 3_600.0,
            None => found.buckets[at].from as f64,
        })
    };
    let label = if found.bucket_seconds.is_some() { "age, hours" } else { "test rows before" };
    let lines = |title: &str, y: &str, value: &dyn Fn(usize, usize) -> Option<Estimate>| Drawing {
        title: title.into(),
        caption: "Whiskers are intervals over blocks of rows.".into(),
        form: Form::Lines,
        x: Extent { label: label.into(), log: false },
        y: Extent { label: y.into(), log: false },
        series: (found.models.iter().enumerate())
            .map(|(model, of)| DrawnSeries {
                name: of.model.clone(),
                points: (0..found.buckets.len())
                    .filter_map(|at| drawn(Place::Number(x(at)), &value(model, at)?))
                    .collect(),
            })
            .collect(),
    };
    let mut loss = lines("Log loss by age", "log loss, nats", &|model, at| Some(found.models[model].log_loss[at]));
    let constant = |(at, bucket): (usize, &super::age::Bucket)| {
        let y = bucket.constant_log_loss?;
        Some(DrawnPoint { x: Place::Number(x(at)), y, low: None, high: None })
    };
    let points: Vec<DrawnPoint> = found.buckets.iter().enumerate().filter_map(constant).collect();
    if !points.is_empty() {
        loss.series.push(DrawnSeries { name: "constant".into(), points });
    }
    let pcoc = lines("Predicted over actual clicks by age", "PCOC", &|model, at| found.models[model].pcoc[at]);
    let names: Vec<String> = found.models.iter().map(|of| format!("{}, log loss", of.model)).collect();
    let first = if found.bucket_seconds.is_some() { "age" } else { "rows before" };
    let mut named = vec![(first, label), ("rows", "test rows"), ("CTR", "click-through rate")];
    named.extend(names.iter().map(|name| (name.as_str(), "nats")));
    let table = Sheet {
        caption: "Loss over time".into(),
        columns: columns(&named),
        rows: (found.buckets.iter().enumerate())
            .map(|(at, bucket)| {
                let mut row = vec![Entry::Number(x(at)), Entry::Number(bucket.rows as f64), Entry::Number(bucket.ctr)];
                row.extend(found.models.iter().map(|of| entry(&of.log_loss[at])));
                row
            })
            .collect(),
    };
    exhibit("age", "Loss against the age of the model", text, vec![loss, pcoc], vec![table], found)
}

fn exhibit(
    kind: &str,
    title: &str,
    text: Vec<String>,
    charts: Vec<Drawing>,
    tables: Vec<Sheet>,
    facts: &(impl Serialize + ?Sized),
) -> Result<Exhibit> {
    let facts = serde_json::to_value(facts).map_err(|error| Error::Bug(error.to_string()))?;
    Ok(Exhibit { format: FORMAT, kind: kind.into(), title: title.into(), text, charts, tables, facts })
}

/// What one model has to say of a category.
type OfCategory<'f> = Box<dyn Fn(&str) -> Option<Estimate> + 'f>;

/// One dot with an interval for each category and model.
fn bars<'f>(
    title: &str,
    label: &str,
    categories: Vec<String>,
    series: impl Iterator<Item = (String, OfCategory<'f>)>,
) -> Drawing {
    let of = |(name, value): (String, OfCategory<'f>)| DrawnSeries {
        name,
        points: (categories.iter())
            .filter_map(|category| drawn(Place::Category(category.clone()), &value(category)?))
            .collect(),
    };
    Drawing {
        title: title.into(),
        caption: "Whiskers are intervals over blocks of test rows.".into(),
        form: Form::Bars,
        x: Extent { label: label.into(), log: false },
        y: Extent { label: "field".into(), log: false },
        series: series.map(of).collect(),
    }
}

/// `None` where there is no number.
fn drawn(x: Place, of: &Estimate) -> Option<DrawnPoint> {
    of.value.is_finite().then_some(DrawnPoint { x, y: of.value, low: of.low, high: of.high })
}

fn columns(named: &[(&str, &str)]) -> Vec<SheetColumn> {
    named.iter().map(|(name, meaning)| SheetColumn { name: (*name).into(), meaning: (*meaning).into() }).collect()
}

fn entry(of: &Estimate) -> Entry {
    match (of.low, of.high) {
        (Some(low), Some(high)) => Entry::Interval { value: of.value, low, high },
        _ => number(Some(of.value)),
    }
}

fn number(of: Option<f64>) -> Entry {
    of.filter(|number| number.is_finite()).map_or(Entry::None, Entry::Number)
}

fn seeds(seeds: &[u64]) -> String {
    match seeds.len() {
        1 => "one seed".to_owned(),
        count => format!("{count} seeds"),
    }
}

/// `0.00012 [0.00010, 0.00014]`, with the digits that its size asks for.
fn in_words(of: &Estimate) -> String {
    let size = of.low.zip(of.high).map_or(of.value.abs(), |(low, high)| low.abs().max(high.abs()));
    let digits = (2.0 - size.max(1e-12).log10().floor()).clamp(2.0, 8.0) as usize;
    match (of.low, of.high) {
        (Some(low), Some(high)) => format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", of.value),
        _ => format!("{:.digits$}", of.value),
    }
}
