//! Any text as the manifest of a bundle: it is refused by name, or the bundle opens and answers.

use std::path::{Path, PathBuf};

use pctr::error::Kind;
use pctr::model::bundle::Bundle;
use pctr::predict::LiveModel;
use serde_json::Value;

/// A bundle in a folder of its own: the same bytes on every machine, so that a seed may hold its true manifest.
pub(crate) struct Folder {
    bundle: PathBuf,
    _folder: tempfile::TempDir,
}

impl Folder {
    /// Copies the bundle of the tests of formats.
    pub(crate) fn new() -> Folder {
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("tests/compat/format-1/ftrl"));
        let from = from.into_iter().find(|folder| folder.is_dir()).expect("the repository is there");
        let folder = tempfile::tempdir().expect("there is a disk");
        for file in std::fs::read_dir(from).expect("it is a folder") {
            let file = file.expect("it is there");
            std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("there is a disk");
        }
        Folder { bundle: folder.path().to_path_buf(), _folder: folder }
    }

    /// Puts `manifest` in and opens the bundle. One that is refused because its name is not that of its content gets this name and
    /// is tried again, or else nothing behind that check would ever be reached.
    pub(crate) fn check(&self, manifest: &[u8]) -> Vec<Result<(), String>> {
        let first = self.open(manifest);
        let named = || {
            let (_, told) = first.as_ref().err()?.split_once("its content is that of ")?;
            let mut value: Value = serde_json::from_slice(manifest).ok()?;
            value["model"] = told.split_once(',')?.0.into();
            serde_json::to_vec(&value).ok()
        };
        let second = named().map(|manifest| self.open(&manifest));
        std::iter::once(first).chain(second).collect()
    }

    fn open(&self, manifest: &[u8]) -> Result<(), String> {
        std::fs::write(self.bundle.join("manifest.json"), manifest).expect("there is a disk");
        match Bundle::open(&self.bundle) {
            Ok(bundle) => {
                LiveModel::new(bundle).expect("a bundle that opens answers");
                Ok(())
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Bundle, "{error}");
                Err(error.to_string())
            }
        }
    }
}
