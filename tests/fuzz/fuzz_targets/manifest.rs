//! Any text as the manifest of a bundle: it is refused, or it is the bundle's own and the bundle answers.
#![no_main]

#[path = "../../bundles/mod.rs"]
mod bundles;

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use pctr::model::bundle::{Bundle, ModelKind};
use pctr::predict::LiveModel;

thread_local! {
    static FOLDER: (tempfile::TempDir, PathBuf) = {
        let folder = tempfile::tempdir().expect("there is a disk");
        let path = bundles::written(folder.path(), &bundles::bundle(ModelKind::Ftrl, 1));
        (folder, path)
    };
}

fuzz_target!(|manifest: &[u8]| {
    FOLDER.with(|(_, folder)| {
        std::fs::write(folder.join("manifest.json"), manifest).expect("there is a disk");
        if let Ok(bundle) = Bundle::open(folder) {
            LiveModel::new(bundle).expect("a bundle that opens answers");
        }
    });
});
