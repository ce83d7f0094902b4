//! A schema's columns, as a request names them.
//!
//! Requests name *columns*: a feature that reads another's column again is fed by that column. Columns that no feature
//! reads (label, weight, time, group, ignored ones) may be given, so that a row of a log can be sent as it is; they have no
//! effect.

use std::cmp::Ordering;

use super::json::Key;
use crate::error::nearest;
use crate::model::schema::{FeatureKind, Schema};

/// The key under which a candidate has its id.
pub const ID: &str = "id";

/// Columns by name.
#[derive(Debug)]
pub struct Fields {
    columns: Vec<Column>,
    /// Positions of the columns, in the order of their names' lengths and then of their bytes.
    by_name: Vec<usize>,
    /// The columns' names, and behind them [`ID`], as objects have them.
    keys: Vec<Option<Key>>,
    /// The column that is called [`ID`], if there is one.
    id: Option<usize>,
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
        let columns: Vec<Column> = (schema.columns.iter().enumerate())
            .map(|(column, name)| Column { name: name.clone(), reader: reader(column) })
            .collect();
        let keys = schema.columns.iter().map(String::as_str).chain([ID]).map(Key::new).collect();
        let mut by_name: Vec<usize> = (0..columns.len()).collect();
        by_name.sort_unstable_by(|a, b| shorter_first(columns[*a].name.as_bytes(), columns[*b].name.as_bytes()));
        let id = schema.columns.iter().position(|name| name == ID);
        Fields { columns, by_name, keys, id }
    }

    /// Position of a column by name.
    pub fn position(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        let name = name.as_ref();
        let found = self.by_name.binary_search_by(|column| shorter_first(self.columns[*column].name.as_bytes(), name));
        found.ok().map(|found| self.by_name[found])
    }

    /// A column by position.
    pub fn column(&self, position: usize) -> &Column {
        &self.columns[position]
    }

    /// The name of a column as an object has it, if that needs no escape; [`Fields::count`] stands for [`ID`].
    #[inline]
    pub fn key(&self, position: usize) -> Option<&Key> {
        self.keys.get(position)?.as_ref()
    }

    /// Position of the column that is called as a candidate's id is, if there is one.
    pub fn id(&self) -> Option<usize> {
        self.id
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

/// Lengths nearly always tell names apart.
fn shorter_first(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
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
        for (position, name) in schema.columns.iter().enumerate() {
            assert_eq!((fields.position(name), &fields.column(position).name), (Some(position), name));
            assert!(fields.key(position).unwrap().begins(format!("{name:?}:\"a long value\"").as_bytes()));
        }
        assert!(fields.key(fields.count()).unwrap().begins(br#""id":"a long text""#));
        assert!(fields.hint("start", &schema).contains("read from the field \"a\""));
        assert!(fields.hint("pric", &schema).contains("did you mean \"price\"?"));
    }
}
