//! A settings struct written once → the struct, its defaults, and what a person may read about each key.
//!
//! The doc comment of a field is its description in `pctr serve --print-config` and in `docs/config.md`, so that the three
//! cannot differ.

use toml::Value;

/// One key of a settings struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// What it means, with unit and bounds: the field's doc comment.
    pub about: String,
    /// What it is when nobody sets it; `None` where that is nothing.
    pub default: Option<Value>,
}

/// A struct made by `settings!`.
pub trait Documented {
    /// Its keys, in the order they are written.
    fn keys() -> Vec<Key>;
}

/// A table of a settings file, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Name of the table; empty for the top of the file.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What may stand there.
    pub keys: Vec<Key>,
}

impl Section {
    /// The section `name` of keys of `Settings`.
    pub fn of<Settings: Documented>(name: &'static str, about: &'static str) -> Section {
        Section { name, about, keys: Settings::keys() }
    }

    /// Dotted path of one of its keys.
    pub fn path(&self, key: &Key) -> String {
        if self.name.is_empty() { key.name.to_owned() } else { format!("{}.{}", self.name, key.name) }
    }
}

/// A value as TOML; `None` for an option that is not set.
pub fn value_of(value: &impl serde::Serialize) -> Option<Value> {
    Value::try_from(value).ok()
}

/// Declares a settings struct: each field with its doc comment and its default. It reads from TOML, refuses unknown keys,
/// and implements `Default` and [`Documented`].
macro_rules! settings {
    (
        $(#[$about:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $key_about:literal])+ $key_visibility:vis $key:ident: $kind:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $visibility struct $name {
            $($(#[doc = $key_about])+ $key_visibility $key: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($key: $default,)* }
            }
        }

        impl $crate::config::Documented for $name {
            fn keys() -> Vec<$crate::config::Key> {
                let defaults = $name::default();
                vec![$($crate::config::Key {
                    name: stringify!($key),
                    about: [$($key_about),+].map(str::trim).join(" "),
                    default: $crate::config::value_of(&defaults.$key),
                },)*]
            }
        }
    };
}

pub(crate) use settings;
