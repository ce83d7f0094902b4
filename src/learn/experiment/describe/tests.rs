//! Rows whose slices and drift are known.

use super::*;
use crate::learn::experiment::{Recipe, run, tests as experiments};

/// Describes the rows of the small experiment.
fn described(folder: &Path, rows: u64, settings: &[&str]) -> Result<(Card, Slicings)> {
    experiments::write_inputs(folder, rows);
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let recipe = Recipe::parse(experiments::RECIPE, &settings, "recipe.toml", folder)?;
    let options = experiments::options(folder);
    let comparison = run(&recipe, &options, Threads::one(), &mut |_| {}, &Interrupt::default())?;
    Ok(read(&options.out, &comparison.data)?.expect("an experiment describes its rows"))
}

#[test]
fn slices_carry_the_names_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (card, slicings) = described(folder.path(), 4_000, &[]).unwrap();
    let log = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let lines: Vec<Vec<&str>> = log.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(slicings.rows, (3_200..4_000).collect::<Vec<u64>>());
    for (name, column) in [("site", 3), ("ad", 4)] {
        let slicing = slicings.slicings.iter().find(|slicing| slicing.kind == SlicingKind::Field(name.into())).unwrap();
        for (row, slice) in slicings.rows.iter().zip(&slicing.of_row) {
            assert_eq!(slicing.names[usize::from(*slice)], lines[*row as usize][column]);
        }
    }
    // Sites decide clicks, hours do not; nothing drifts; hours of the last day are the same as before.
    let of = |name: &str| card.features.iter().find(|feature| feature.name == name).unwrap();
    assert!(of("site").information > 5.0 * of("hour").information && of("site").values == 8, "{card:?}");
    assert!(of("site").stability.unwrap() < 0.05 && of("site").missing_test == 0.0);
    // The test rows are 8 runs of 100 rows: only some hours.
    assert!(of("hour").stability.unwrap() > 0.25, "{:?}", of("hour"));
    let path = folder.path().join("again.parquet");
    let names = ["b", "c", "a"].map(str::to_owned).to_vec();
    let slicing = Slicing { kind: SlicingKind::Frequency("x".into()), names, of_row: vec![2, 0, 1, 2] };
    let ordered = Slicings { rows: vec![4, 5, 6, 7], slicings: vec![slicing] };
    ordered.write(&path).unwrap();
    assert_eq!(Slicings::read(&path).unwrap(), ordered, "names keep their order, whichever row comes first");
}

#[test]
fn few_values_are_named_and_the_others_are_one_slice() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["slices.top=2", "slices.fields=[\"site\"]", "slices.ad=\"ad\""];
    let (_, slicings) = described(folder.path(), 2_000, &settings).unwrap();
    let [site, ad] = &slicings.slicings[..] else { panic!("{:?}", slicings.slicings) };
    assert_eq!((site.names.len(), site.names[2].as_str()), (3, "other values"));
    assert_eq!(ad.kind, SlicingKind::Frequency("ad".into()));
    assert_eq!(ad.names, ["100 to 999"], "1,200 training rows of six ads");
}

#[test]
fn mistakes_in_slices_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |settings: &[&str]| described(folder.path(), 500, settings).unwrap_err().to_string();
    let error = refused(&["slices.fields=[\"sit\"]"]);
    assert!(error.contains("slices.fields") && error.contains("site"), "{error}");
    assert!(refused(&["slices.top=1"]).contains("expected 2 to 100, got 1"));
}
