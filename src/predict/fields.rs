//! A schema's columns, as a request names them.
//!
//! Requests name *columns*: a feature that reads another's column again is fed by that column. Columns that no feature
//! reads (label, weight, time, group, ignored ones) may be given, so that a row of a log can be sent as it is; they have no
//! effect.

use std::collections::HashMap;

use crate::error::nearest;
use crate::model::schema::{FeatureKind, Schema};

/// Columns by name.
#[derive(Debug)]
pub struct Fields {
    by_name: HashMap<String, usize>,
    columns: Vec<Column>,
}

/// What a request needs to know of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What reads it.
    pub reader: Reader,
}

/// What reads a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// No feature.
    Nothing,
    /// Features that take one value.
    Single,
    /// A bag that takes several values, with this byte between them in text.
    Bag {
        /// One byte between values.
        separator: u8,
    },
}

impl Fields {
    /// The columns of `schema`.
    pub fn new(schema: &Schema) -> Fields {
        let reader = |column: usize| {
            let mut kinds =
                schema.features.iter().filter(|feature| feature.column == column).map(|feature| &feature.kind);
            kinds
                .clone()
                .find_map(|kind| match kind {
                    FeatureKind::Bag { separator, .. } => Some(Reader::Bag { separator: *separator }),
                    FeatureKind::Categorical { .. } | FeatureKind::Numeric { .. } => None,
                })
                .unwrap_or(if kinds.next().is_some() { Reader::Single } else { Reader::Nothing })
        };
        let columns = schema.columns.iter().enumerate();
        Fields {
            by_name: columns.clone().map(|(column, name)| (name.clone(), column)).collect(),
            columns: columns.map(|(column, name)| Column { name: name.clone(), reader: reader(column) }).collect(),
        }
    }

    /// Position of a column by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// A column by position.
    pub fn column(&self, position: usize) -> &Column {
        &self.columns[position]
    }

    /// Number of columns.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// What to do about a name that is no column: the column that the feature of this name reads, or the nearest column.
    pub fn hint(&self, name: &str, schema: &Schema) -> String {
        match schema.features.iter().find(|feature| feature.name == name) {
            Some(feature) => {
                format!("; the feature {name} is read from the field {:?}", schema.columns[feature.column])
            }
            None => nearest(name, self.columns.iter().map(|column| column.name.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_know_their_readers() {
        let schema = Schema::parse(
            "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\na = { kind = \"categorical\" }\n\
             start = { kind = \"categorical\", column = \"a\", characters = [0, 2] }\ntags = { kind = \"bag\" }\n\
             all = { kind = \"categorical\", column = \"tags\" }\nprice = { kind = \"numeric\" }\nnote = { kind = \"ignore\" }\n",
            "t",
        )
        .unwrap();
        let fields = Fields::new(&schema);
        let reader = |name: &str| fields.position(name).map(|position| fields.column(position).reader);
        assert_eq!(reader("y"), Some(Reader::Nothing));
        assert_eq!(reader("note"), Some(Reader::Nothing));
        assert_eq!(reader("a"), Some(Reader::Single));
        assert_eq!(reader("price"), Some(Reader::Single));
        assert_eq!(reader("tags"), Some(Reader::Bag { separator: b'|' }));
        assert_eq!(reader("start"), None);
        assert!(fields.hint("start", &schema).contains("read from the field \"a\""));
        assert!(fields.hint("pric", &schema).contains("did you mean \"price\"?"));
    }
}
