//! Any text as the manifest of a bundle.
#![no_main]

#[path = "../../bundles/mod.rs"]
mod bundles;
#[path = "../manifest.rs"]
mod manifest;

thread_local! {
    static FOLDER: manifest::Folder = manifest::Folder::new();
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    FOLDER.with(|folder| folder.check(text));
});
