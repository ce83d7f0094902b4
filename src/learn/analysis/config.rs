//! `[analysis]` of a recipe, or the flags of `pctr analyze` → what is looked into, and at what cost.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, nearest};

/// What is looked into once the models are there. What only scores rows is on by default; what trains again is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalysisConfig {
    /// Models to look into, by name; none names all that have a bundle, but for base rates.
    pub models: Vec<String>,
    /// How much worse each model gets when a field is permuted within blocks of time.
    pub importance: bool,
    /// Most test rows that are permuted, spread evenly over all; 1,000 to 10,000,000.
    pub rows: usize,
    /// Permutations of each field; 1 to 100.
    pub repeats: usize,
    /// Groups of fields that are permuted (or left out) together, by name; without any, fields of one kind.
    pub groups: IndexMap<String, Vec<String>>,
    /// Fields or groups to train without: a list of names, `"all"` for every field, or `"groups"`.
    pub ablate: Ablate,
    /// Train on shares of the training rows, the latest ones.
    pub learning_curve: bool,
    /// These shares, above 0 up to 1.
    pub shares: Vec<f64>,
    /// Count values that share a slot.
    pub collisions: bool,
    /// Train again without collisions, to see what they cost.
    pub collision_cost: bool,
    /// Rows to show on which two models disagree most, for each pair of models; 0 to 1,000, 0 for none.
    pub disagreements: usize,
    /// Loss against the time since training.
    pub age: bool,
    /// Seeds of all trainings of ablations and learning curves; none takes each model's own.
    pub seeds: Vec<u64>,
    /// Seed of the permutations.
    pub seed: u64,
}

/// What to train without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ablate {
    /// These fields and groups.
    Named(Vec<String>),
    /// `all` fields or all `groups`.
    Word(String),
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        AnalysisConfig {
            models: Vec::new(),
            importance: true,
            rows: 50_000,
            repeats: 3,
            groups: IndexMap::new(),
            ablate: Ablate::Named(Vec::new()),
            learning_curve: false,
            shares: vec![0.0625, 0.125, 0.25, 0.5, 1.0],
            collisions: true,
            collision_cost: false,
            disagreements: 20,
            age: true,
            seeds: Vec::new(),
            seed: 1,
        }
    }
}

impl AnalysisConfig {
    /// Checks bounds and names. `models` are the names of the recipe, `fields` those of the schema where it is known; `place`
    /// is named in errors.
    ///
    /// # Errors
    /// Config, naming the key.
    pub fn check(&self, models: &[&str], fields: Option<&[&str]>, place: &str) -> Result<()> {
        let wrong = |key: &str, message: String| Err(Error::config(place, format!("analysis.{key}"), message));
        if !(1_000..=10_000_000).contains(&self.rows) {
            return wrong("rows", format!("expected 1000 to 10000000, got {}", self.rows));
        }
        if !(1..=100).contains(&self.repeats) {
            return wrong("repeats", format!("expected 1 to 100, got {}", self.repeats));
        }
        if self.disagreements > 1_000 {
            return wrong("disagreements", format!("expected at most 1000, got {}", self.disagreements));
        }
        if let Some(share) = self.shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            return wrong("shares", format!("expected shares above 0 up to 1, got {share}"));
        }
        if self.learning_curve && self.shares.is_empty() {
            return wrong("shares", "expected at least one share, got none".into());
        }
        if let Some(model) = self.models.iter().find(|model| !models.contains(&model.as_str())) {
            let hint = nearest(model, models.iter().copied());
            return wrong("models", format!("there is no model {model:?}{hint}"));
        }
        if let Ablate::Word(word) = &self.ablate
            && !["all", "groups"].contains(&word.as_str())
        {
            return wrong("ablate", format!("expected \"all\", \"groups\" or a list of fields, got {word:?}"));
        }
        let Some(fields) = fields else { return Ok(()) };
        for (group, members) in &self.groups {
            if members.is_empty() || fields.contains(&group.as_str()) {
                return wrong("groups", format!("expected fields and a name that no field has for group {group:?}"));
            }
            if let Some(field) = members.iter().find(|field| !fields.contains(&field.as_str())) {
                let hint = nearest(field, fields.iter().copied());
                return wrong("groups", format!("group {group}: there is no field {field:?}{hint}"));
            }
        }
        if let Ablate::Named(names) = &self.ablate {
            let known = || fields.iter().copied().chain(self.groups.keys().map(String::as_str));
            if let Some(name) = names.iter().find(|name| !known().any(|known| known == name.as_str())) {
                let hint = nearest(name, known());
                return wrong("ablate", format!("there is no field or group {name:?}{hint}"));
            }
        }
        Ok(())
    }

    /// Whether anything is trained again.
    pub fn trains(&self) -> bool {
        self.ablate != Ablate::Named(Vec::new()) || self.learning_curve || self.collision_cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let message = |text: &str| {
            let config: AnalysisConfig = match crate::config::from_toml(text, "r.toml") {
                Ok(config) => config,
                Err(error) => return error.to_string(),
            };
            match config.check(&["lr", "dcn"], Some(&["C1", "C2"]), "r.toml") {
                Ok(()) => "fine".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(message("ablate = \"all\"\ngroups = { ad = [\"C1\", \"C2\"] }"), "fine");
        assert_eq!(message("ablate = [\"ad\", \"C2\"]\ngroups = { ad = [\"C1\"] }"), "fine");
        for (text, says) in [
            ("repeat = 3", "did you mean \"repeats\"?"),
            ("repeats = 0", "analysis.repeats: expected 1 to 100, got 0"),
            ("rows = 5", "analysis.rows"),
            ("shares = [0.5, 1.5]", "got 1.5"),
            ("models = [\"lrr\"]", "there is no model \"lrr\"; did you mean \"lr\"?"),
            ("ablate = \"everything\"", "got \"everything\""),
            ("ablate = [\"C3\"]", "there is no field or group \"C3\"; did you mean"),
            ("groups = { ad = [\"C9\"] }", "group ad: there is no field \"C9\""),
            ("groups = { C1 = [\"C2\"] }", "a name that no field has"),
            ("disagreements = 5000", "at most 1000"),
        ] {
            assert!(message(text).contains(says), "{text}: {}", message(text));
        }
    }
}
