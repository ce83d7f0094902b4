//! Encoded rows, in order → the identity of all of them.
//!
//! It is the hash of the encoder's fingerprint and then, block by block of [`BLOCK_ROWS`] rows, of each column. Rows may come in any
//! portions, and need not be kept anywhere.

use super::{BLOCK_ROWS, EncodedRows};
use crate::model::features::Encoder;
use crate::model::features::hash::{Fingerprint, FingerprintStream};
use crate::model::schema::Schema;

/// Takes rows and ends as [`super::Manifest::data_fingerprint`]. Memory: one block.
pub struct RowsIdentity {
    stream: FingerprintStream,
    /// Rows of a block that is not full.
    pending: EncodedRows,
}

impl RowsIdentity {
    /// Of no rows yet.
    pub fn new(schema: &Schema, encoder: &Encoder) -> Self {
        let mut stream = Fingerprint::stream();
        stream.update(encoder.fingerprint().to_string().as_bytes());
        RowsIdentity { stream, pending: EncodedRows::new(schema) }
    }

    /// Takes the next rows, as many as there are.
    pub fn append(&mut self, rows: &EncodedRows) {
        let mut start = 0;
        while start < rows.rows() {
            let end = rows.rows().min(start + BLOCK_ROWS - self.pending.rows());
            self.pending.append(rows, start..end);
            start = end;
            if self.pending.rows() == BLOCK_ROWS {
                Self::update(&mut self.stream, &self.pending);
                self.pending.clear();
            }
        }
    }

    /// Takes the next block of rows; only the last one is not full.
    pub(super) fn block(&mut self, block: &EncodedRows) {
        Self::update(&mut self.stream, block);
    }

    fn update(stream: &mut FingerprintStream, block: &EncodedRows) {
        stream.update(&block.labels);
        stream.update(bytemuck::cast_slice(&block.codes));
        stream.update(bytemuck::cast_slice(&block.weights));
        stream.update(bytemuck::cast_slice(&block.times));
        stream.update(bytemuck::cast_slice(&block.groups));
    }

    /// Identity of all rows.
    pub fn finish(mut self) -> Fingerprint {
        Self::update(&mut self.stream, &self.pending);
        self.stream.finish()
    }
}
