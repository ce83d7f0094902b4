//! What a bundle must pass before it may serve.

use std::path::Path;

use super::Stage;
use crate::error::{Error, Result};
use crate::model::bundle::{Bundle, ScoreScratch};
use crate::model::row::Cell;

/// Whether a promotion may bring another schema than the one served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaChange {
    /// Requests stay as they are: the schema must be that of the stage's model.
    Refuse,
    /// Requests change with the model.
    Allow,
}

/// Opens the bundle of `model` and checks that it may follow on what `stage` serves.
pub(super) fn check(path: &Path, model: &str, stage: Option<&Stage>, schema: SchemaChange) -> Result<Bundle> {
    let bundle = Bundle::open(path)?;
    if bundle.manifest.model != model {
        let message = format!("expected the bundle of this model, got that of {}", bundle.manifest.model);
        return Err(Error::bundle(model, message));
    }
    check_answers(&bundle)?;
    match stage {
        Some(stage)
            if schema == SchemaChange::Refuse && stage.schema_fingerprint != bundle.manifest.schema_fingerprint =>
        {
            let message = format!(
                "it takes rows of schema {} ({}), but {} serves {} for schema {} ({}); requests made for the one do not fit the \
                 other; promote with --force when they change together",
                bundle.manifest.schema,
                bundle.manifest.schema_fingerprint,
                stage.stage,
                stage.model,
                stage.schema,
                stage.schema_fingerprint,
            );
            Err(Error::bundle(model, message))
        }
        _ => Ok(bundle),
    }
}

/// The name becomes a folder's name: it must be what it says, a kind and hexadecimal digits.
pub(super) fn check_name(bundle: &Bundle, folder: &Path) -> Result<()> {
    let (model, kind) = (&bundle.manifest.model, bundle.manifest.kind.name());
    let digits = model.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).unwrap_or("");
    match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => {
            let message = format!("its manifest names it {model:?}, expected {kind}- and hexadecimal digits");
            Err(Error::bundle(folder.display().to_string(), message))
        }
    }
}

/// Checks that each tier of the bundle answers a row of nothing but missing values with a probability.
///
/// # Errors
/// Bundle when the row cannot be encoded or the answer is no number between 0 and 1.
pub fn check_answers(bundle: &Bundle) -> Result<()> {
    let refuse = |message: String| Error::bundle(&bundle.manifest.model, message);
    let mut codes = vec![0; bundle.encoder.width()];
    let cells = vec![Cell::Missing; bundle.schema.columns.len()];
    bundle
        .encoder
        .encode(&cells, &mut codes)
        .map_err(|error| refuse(format!("it cannot take a row of missing values: {}", error.field)))?;
    for tier in bundle.tiers() {
        let mut probabilities = Vec::new();
        bundle.score_tier(tier, &codes, &mut ScoreScratch::default(), &mut probabilities);
        match probabilities[..] {
            [probability] if probability > 0.0 && probability < 1.0 => {}
            _ => {
                let message = format!("its {tier} tier answers {probabilities:?} to a row of missing values");
                return Err(refuse(message + ", expected one probability"));
            }
        }
    }
    Ok(())
}
