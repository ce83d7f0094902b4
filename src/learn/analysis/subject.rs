//! The folder of a run or of a bundle → a model to look into.

use std::path::Path;

use crate::error::{Error, Result};
use crate::learn::dataset::View;
use crate::learn::experiment::BUNDLE;
use crate::learn::experiment::record::{RECORD_FILE, RunRecord};
use crate::learn::settings::Settings;
use crate::model::bundle::Bundle;

/// A model that is looked into.
#[derive(Debug)]
pub struct Subject {
    /// Name in exhibits.
    pub name: String,
    /// The model.
    pub bundle: Bundle,
    /// How it was trained.
    pub settings: Settings,
    /// With which seed.
    pub seed: u64,
}

impl Subject {
    /// Opens the folder of a run (which knows its model's name) or of a bundle (whose folder names it).
    ///
    /// # Errors
    /// Io, data and bundle as they come; data when a run has no bundle, because it is of a reference model.
    pub fn open(folder: &Path) -> Result<Subject> {
        if !folder.join(RECORD_FILE).is_file() {
            let name = folder.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
            return Subject::new(name, Bundle::open(folder)?, folder);
        }
        let record = RunRecord::read(folder)?;
        if record.bundle.is_none() {
            let message = format!("expected a run with a bundle, got one of {}, which leaves none", record.kind);
            return Err(Error::data(folder.display().to_string(), message));
        }
        Subject::new(record.model, Bundle::open(&folder.join(BUNDLE))?, folder)
    }

    fn new(name: String, bundle: Bundle, folder: &Path) -> Result<Subject> {
        let provenance = &bundle.manifest.provenance;
        let settings = Settings::of_record(&provenance.settings, &folder.display().to_string())?;
        Ok(Subject { name, settings, seed: provenance.seed, bundle })
    }

    /// Refuses rows that this model cannot score.
    pub(super) fn check_rows(&self, rows: &View<'_>) -> Result<()> {
        let dataset = rows.dataset();
        let place = dataset.folder().display().to_string();
        if self.bundle.schema.fingerprint() != dataset.schema().fingerprint() {
            let message = format!(
                "expected data of schema {}, as model {} takes them, got {}",
                self.bundle.schema.name,
                self.name,
                dataset.schema().name
            );
            return Err(Error::config(place, "schema", message));
        }
        if self.bundle.encoder.fingerprint() != dataset.encoder().fingerprint() {
            let message = format!("these rows were encoded with other quantile bins than those of model {}", self.name);
            return Err(Error::config(place, "encoder", message));
        }
        Ok(())
    }
}
