//! Defaults, a file, the environment and flags → one set of settings, and where each value came from.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults. Each layer is checked on its
//! own, so that an error names the layer that is wrong: the file's line, the variable or the flag.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::documented::Section;
use super::{from_table, from_toml, parse_value};
use crate::error::{Error, Result, nearest};

/// Settings of one program part: which keys there are, and the prefix of their environment variables.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Variables begin with this and an underscore, as in `PCTR_SERVE_LIMITS_CANDIDATES`.
    pub prefix: &'static str,
    /// All sections, the top of the file first.
    pub sections: Vec<Section>,
}

/// Settings put together, and where each value that is no default came from, by dotted path.
#[derive(Debug, Clone)]
pub struct Settled<Settings> {
    /// The settings.
    pub settings: Settings,
    /// `limits.candidates` → `environment variable PCTR_SERVE_LIMITS_CANDIDATES`.
    pub origins: BTreeMap<String, String>,
}

impl Layout {
    /// Puts the layers together.
    ///
    /// `file` is its text and name, `environment` all variables of the process (others than ours are passed over), and
    /// `flags` are pairs of a dotted path and a value; a flag's name in errors is `--set` and the path.
    ///
    /// # Errors
    /// Config with place, key and the nearest key that exists.
    pub fn settle<Settings: DeserializeOwned>(
        &self,
        file: Option<(&str, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, Value)],
    ) -> Result<Settled<Settings>> {
        let mut table = Table::new();
        let mut origins = BTreeMap::new();
        if let Some((text, place)) = file {
            from_toml::<Settings>(text, place)?;
            table = from_toml(text, place)?;
            for path in self.paths().filter(|path| get(&table, path).is_some()) {
                origins.insert(path, place.to_owned());
            }
        }
        for (variable, text) in environment {
            let Some(rest) = variable.strip_prefix(self.prefix).filter(|rest| rest.starts_with('_')) else { continue };
            let known = self.paths().find(|path| variable_rest(path) == rest[1..]);
            let place = format!("environment variable {variable}");
            let Some(path) = known else {
                let names: Vec<String> = self.paths().map(|path| self.variable(&path)).collect();
                let hint = nearest(&variable, names.iter().map(String::as_str));
                return Err(Error::config("environment", variable, format!("there is no such setting{hint}")));
            };
            // A text that TOML reads as a number may still be meant as a text.
            let value = match self.check::<Settings>(&path, parse_value(&text), &place) {
                Ok(value) => value,
                Err(error) => self.check::<Settings>(&path, Value::String(text.clone()), &place).map_err(|_| error)?,
            };
            put(&mut table, &path, value);
            origins.insert(path, place);
        }
        for (path, value) in flags {
            if !self.paths().any(|known| known == *path) {
                let names: Vec<String> = self.paths().collect();
                let hint = nearest(path, names.iter().map(String::as_str));
                return Err(Error::config("--set", path, format!("there is no such setting{hint}")));
            }
            let place = "the command line".to_owned();
            let value = self.check::<Settings>(path, value.clone(), &place)?;
            put(&mut table, path, value);
            origins.insert(path.clone(), place);
        }
        Ok(Settled { settings: from_table(table, "settings")?, origins })
    }

    /// The settings as a file that would give them, each key with what it means and where its value came from.
    ///
    /// # Errors
    /// Bug when a value cannot be written as TOML.
    pub fn print<Settings: Serialize>(&self, settled: &Settled<Settings>) -> Result<String> {
        let table = Table::try_from(&settled.settings).map_err(|error| Error::Bug(error.to_string()))?;
        let mut text = String::new();
        for section in &self.sections {
            let _ = writeln!(text, "{}# {}", if text.is_empty() { "" } else { "\n" }, section.about);
            if !section.name.is_empty() {
                let _ = writeln!(text, "[{}]", section.name);
            }
            for key in &section.keys {
                let path = section.path(key);
                let _ = writeln!(text, "# {}", key.about);
                let from = settled.origins.get(&path).map_or_else(String::new, |from| format!("  # from {from}"));
                let _ = match get(&table, &path) {
                    Some(value) => writeln!(text, "{} = {value}{from}", key.name),
                    None => writeln!(text, "# {} is not set", key.name),
                };
            }
        }
        Ok(text)
    }

    /// All keys as Markdown: what each means, its default and its environment variable.
    pub fn reference(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            let title =
                if section.name.is_empty() { "Top of the file".into() } else { format!("`[{}]`", section.name) };
            let _ = write!(text, "## {title}\n\n{}\n\n| key | default | meaning |\n|---|---|---|\n", section.about);
            for key in &section.keys {
                let default = key.default.as_ref().map_or_else(|| "not set".into(), |value| format!("`{value}`"));
                let _ = writeln!(text, "| `{}` | {default} | {} |", key.name, key.about.replace('|', "\\|"));
            }
            text.push('\n');
        }
        text
    }

    /// The environment variable of a dotted path.
    pub fn variable(&self, path: &str) -> String {
        format!("{}_{}", self.prefix, variable_rest(path))
    }

    fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.sections.iter().flat_map(|section| section.keys.iter().map(|key| section.path(key)))
    }

    /// A value as it would be taken at `path`, or why it is not.
    fn check<Settings: DeserializeOwned>(&self, path: &str, value: Value, place: &str) -> Result<Value> {
        let mut alone = Table::new();
        put(&mut alone, path, value.clone());
        from_table::<Settings>(alone, place).map_err(|error| match error {
            Error::Config { place, message, .. } => Error::Config { place, key: path.to_owned(), message },
            other => other,
        })?;
        Ok(value)
    }
}

fn variable_rest(path: &str) -> String {
    path.replace('.', "_").to_uppercase()
}

fn get<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    match path.split_once('.') {
        Some((section, key)) => table.get(section)?.get(key),
        None => table.get(path),
    }
}

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        Some((section, key)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                inner.insert(key.to_owned(), value);
            }
        }
        None => {
            table.insert(path.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings;

    settings! {
        /// A part.
        struct Part {
            /// Most of something.
            most: u32 = 7,
            /// A name, if any.
            name: Option<String> = None,
        }
    }

    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Whole {
        part: Part,
    }

    fn layout() -> Layout {
        Layout { prefix: "PCTR_T", sections: vec![Section::of::<Part>("part", "A part.")] }
    }

    fn settle(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, Value)]) -> Result<Settled<Whole>> {
        layout().settle(
            file.map(|text| (text, "t.toml")),
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())),
            &flags.iter().map(|(path, value)| ((*path).to_owned(), value.clone())).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn later_layers_win_and_say_so() {
        let file = Some("[part]\nmost = 1\nname = \"file\"");
        let variables = [("PCTR_T_PART_MOST", "2"), ("PCTR_TX", "other"), ("HOME", "x")];
        let settled = settle(file, &variables, &[]).unwrap();
        assert_eq!(settled.settings.part, Part { most: 2, name: Some("file".into()) });
        assert_eq!(settled.origins["part.most"], "environment variable PCTR_T_PART_MOST");
        assert_eq!(settled.origins["part.name"], "t.toml");
        let settled = settle(file, &variables, &[("part.most", Value::Integer(3))]).unwrap();
        assert_eq!(settled.settings.part.most, 3);
        assert_eq!(settle(None, &[], &[]).unwrap().settings, Whole::default());
        let printed = layout().print(&settled).unwrap();
        assert!(printed.contains("# Most of something.\nmost = 3  # from the command line\n"), "{printed}");
        let again = settle(Some(&printed), &[], &[]).unwrap();
        assert_eq!(again.settings, settled.settings, "what is printed can be read again");
    }

    #[test]
    fn texts_that_look_like_numbers_are_texts_where_one_is_asked() {
        let settled = settle(None, &[("PCTR_T_PART_NAME", "123")], &[]).unwrap();
        assert_eq!(settled.settings.part.name.as_deref(), Some("123"));
    }

    #[test]
    fn errors_name_layer_and_nearest_key() {
        let told = |settled: Result<Settled<Whole>>| settled.unwrap_err().to_string();
        let message = told(settle(Some("[part]\nmots = 1"), &[], &[]));
        assert!(message.contains("t.toml:2") && message.contains("did you mean \"most\"?"), "{message}");
        let message = told(settle(None, &[("PCTR_T_PART_MOTS", "1")], &[]));
        assert!(message.contains("did you mean \"PCTR_T_PART_MOST\"?"), "{message}");
        let message = told(settle(None, &[("PCTR_T_PART_MOST", "many")], &[]));
        assert!(message.contains("environment variable PCTR_T_PART_MOST: part.most"), "{message}");
        let message = told(settle(None, &[], &[("part.mots", Value::Integer(1))]));
        assert!(message.contains("did you mean \"part.most\"?"), "{message}");
    }
}
