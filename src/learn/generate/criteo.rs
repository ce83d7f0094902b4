//! A seed → rows with the columns, cardinalities and missing shares of the Criteo display advertising logs.
//!
//! Four hidden traits of a row (think of user, ad, site and time) correlate its columns: an integer adds the trait to its own
//! noise, a category takes its id near the trait's place for half of the rows. The true logit adds up
//!
//! * a main effect for each of the 26 categories,
//! * a bent line in the logarithm of each of the 13 integers, and an effect of its absence,
//! * products ⟨e(a), e(b)⟩ of four-dimensional embeddings for 28 pairs of categories,
//! * five products of an integer with a category,
//!
//! scaled so that every seed is equally hard. Rows are made in blocks of [`COLUMN_ROWS`], column by column; the effects of
//! an id follow from its number by look-up in small tables, so nothing grows with the vocabulary.

use super::Block;
use super::arithmetic::{exp, floor, ln};
use super::draw::{Draw, Normal, Popularity, Stream, normal, scramble};
use super::text::{Line, hex};
use super::truth::{Outcome, Scale};

/// Cardinality, exponent of the popularity and missing share of C1 to C26.
const CATEGORIES: [(u32, f64, f64); 26] = [
    (1_460, 1.1, 0.0),
    (583, 1.05, 0.0),
    (1_000_000, 1.05, 0.034),
    (400_000, 1.05, 0.034),
    (305, 1.2, 0.0),
    (24, 1.0, 0.12),
    (12_517, 1.1, 0.0),
    (633, 1.2, 0.0),
    (3, 0.8, 0.0),
    (93_145, 1.1, 0.0),
    (5_683, 1.05, 0.0),
    (800_000, 1.05, 0.034),
    (3_194, 1.05, 0.0),
    (27, 0.8, 0.0),
    (14_992, 1.1, 0.0),
    (500_000, 1.05, 0.034),
    (10, 0.9, 0.0),
    (5_652, 1.1, 0.0),
    (2_173, 1.1, 0.44),
    (4, 0.6, 0.44),
    (600_000, 1.05, 0.034),
    (18, 1.3, 0.76),
    (15, 0.9, 0.0),
    (286_181, 1.15, 0.034),
    (105, 1.0, 0.44),
    (142_572, 1.1, 0.44),
];

/// Mean and deviation of the logarithm, and missing share of I1 to I13.
const INTEGERS: [(f32, f32, f64); 13] = [
    (0.7, 1.4, 0.45),
    (2.0, 2.0, 0.0),
    (1.8, 1.6, 0.21),
    (1.7, 1.1, 0.22),
    (8.0, 2.4, 0.026),
    (3.5, 1.9, 0.22),
    (1.6, 1.6, 0.043),
    (2.2, 1.0, 0.0005),
    (3.8, 1.6, 0.043),
    (0.1, 0.5, 0.45),
    (0.6, 1.0, 0.043),
    (0.1, 0.6, 0.77),
    (1.7, 1.2, 0.22),
];

/// I2 of the original has values down to −2: this many are taken off after rounding.
const BELOW_ZERO: [i32; 13] = [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const LARGEST_INTEGER: f64 = 5_000_000.0;
const MISSING_INTEGER: i32 = i32::MIN;

const TRAITS: usize = 4;
const EMBEDDING: usize = 4;
/// Pairs of categories below this cardinality, where a model can learn them; and pairs of any categories.
const LEARNABLE_CARDINALITY: u32 = 20_000;
const LEARNABLE_PAIRS: usize = 22;
const PAIRS: usize = 28;
/// Integers and categories that interact, counted from zero.
const INTEGER_CATEGORY: [(usize, usize); 5] = [(0, 8), (1, 5), (4, 16), (6, 13), (10, 22)];

/// Sizes of the effects.
const MAIN: f32 = 0.22;
const PAIR: f32 = 0.2 / 2.0; // over the root of the embedding's size
const INTEGER_BY_CATEGORY: f32 = 0.25;

const CTR: f64 = 0.25;
/// Gives an oracle log loss of about 0.385 and an oracle AUC of about 0.86.
const LOGIT_DEVIATION: f64 = 1.92;

/// Rows made at a time; changing it changes what a seed means.
const COLUMN_ROWS: usize = 256;
const PILOT_BLOCKS: u64 = 128;

/// Generator of Criteo-shaped rows.
pub(super) struct Criteo {
    fields: Fields,
    scale: Scale,
    columns: Box<Columns>,
    seed: u64,
    /// Block that `columns` will hold next.
    next_block: u64,
    /// Row of `columns` to write next.
    next_row: usize,
}

impl Criteo {
    pub(super) fn new(seed: u64) -> Self {
        let mut fields = Fields::new(seed);
        let mut columns = Box::new(Columns::new());
        fields.standardize(seed, &mut columns);
        let mut pilot = Vec::new();
        for block in 0..PILOT_BLOCKS {
            columns.draw(&fields, &mut Draw::new(seed, Stream::CriteoPilot, block));
            pilot.extend_from_slice(&columns.logits);
        }
        let scale = Scale::fit(&pilot, LOGIT_DEVIATION, CTR);
        Criteo { fields, scale, columns, seed, next_block: 0, next_row: COLUMN_ROWS }
    }

    /// Appends the next `rows` rows to `block`.
    pub(super) fn fill(&mut self, rows: usize, block: &mut Block) {
        for _ in 0..rows {
            if self.next_row == COLUMN_ROWS {
                self.columns.draw(&self.fields, &mut Draw::new(self.seed, Stream::CriteoBlock, self.next_block));
                self.next_block += 1;
                self.next_row = 0;
            }
            let outcome = Outcome::draw(
                self.scale.logit(self.columns.logits[self.next_row]),
                self.columns.chances[self.next_row],
            );
            self.columns.write(self.next_row, outcome.click, block);
            block.outcomes.push(outcome);
            self.next_row += 1;
        }
    }
}

/// What a seed decides about the columns.
struct Fields {
    integers: Vec<Integer>,
    categories: Vec<Category>,
    pairs: Vec<(usize, usize)>,
    /// Every id has one of these main effects and one of these embeddings.
    mains: [f32; VARIANTS],
    embeddings: [Embedding; VARIANTS],
    normal: &'static Normal,
}

type Embedding = [f32; EMBEDDING];
/// Few enough for the first cache.
const VARIANTS: usize = 1024;

struct Integer {
    missing: u32,
    slope: f32,
    bend: f32,
    effect_of_missing: f32,
    /// Mean and one over the deviation of ln(1 + value).
    mean: f32,
    per_deviation: f32,
}

struct Category {
    popularity: Popularity,
    /// Turns the order of popularity, so that the traits do not prefer popular ids in every field alike.
    turn: u32,
    cardinality: u32,
    missing: u32,
    key: u64,
}

impl Fields {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, Stream::CriteoFields, 0);
        let integers = INTEGERS
            .iter()
            .map(|&(_, _, missing)| Integer {
                missing: share_as_bits(missing),
                slope: 0.3 * draw.normal(),
                bend: 0.2 * draw.normal(),
                effect_of_missing: 0.25 * draw.normal(),
                mean: 0.0,
                per_deviation: 1.0,
            })
            .collect();
        let categories = CATEGORIES
            .iter()
            .map(|&(cardinality, exponent, missing)| Category {
                popularity: Popularity::zipf(cardinality, exponent),
                turn: if cardinality > 50 { draw.bits() as u32 } else { 0 },
                cardinality,
                missing: share_as_bits(missing),
                key: draw.bits(),
            })
            .collect();
        Fields {
            integers,
            categories,
            pairs: Self::draw_pairs(&mut draw),
            mains: std::array::from_fn(|_| MAIN * draw.normal()),
            embeddings: std::array::from_fn(|_| std::array::from_fn(|_| draw.normal())),
            normal: normal(),
        }
    }

    fn draw_pairs(draw: &mut Draw) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        while pairs.len() < PAIRS {
            let (a, b) = (draw.below(CATEGORIES.len()), draw.below(CATEGORIES.len()));
            let learnable = CATEGORIES[a].0.max(CATEGORIES[b].0) < LEARNABLE_CARDINALITY;
            if a < b && !pairs.contains(&(a, b)) && (learnable || pairs.len() >= LEARNABLE_PAIRS) {
                pairs.push((a, b));
            }
        }
        pairs
    }

    /// Measures mean and deviation of each integer's logarithm on the pilot.
    fn standardize(&mut self, seed: u64, columns: &mut Columns) {
        let mut sums = [(0.0, 0.0, 0.0); INTEGERS.len()];
        for block in 0..PILOT_BLOCKS {
            columns.draw(self, &mut Draw::new(seed, Stream::CriteoPilot, block));
            for (index, (count, sum, squares)) in sums.iter_mut().enumerate() {
                for (&x, &value) in columns.standard[index].iter().zip(&columns.integers[index]) {
                    *count += if value == MISSING_INTEGER { 0.0 } else { 1.0 };
                    *sum += f64::from(x);
                    *squares += f64::from(x) * f64::from(x);
                }
            }
        }
        for (integer, (count, sum, squares)) in self.integers.iter_mut().zip(sums) {
            let mean = sum / count;
            integer.mean = mean as f32;
            integer.per_deviation = (1.0 / (squares / count - mean * mean).sqrt()) as f32;
        }
    }
}

fn share_as_bits(share: f64) -> u32 {
    (share * 4_294_967_296.0) as u32
}

type Column<T> = [T; COLUMN_ROWS];

/// One block of rows, column by column.
struct Columns {
    /// Uniform bits.
    traits: [Column<u32>; TRAITS],
    integers: [Column<i32>; INTEGERS.len()],
    /// ln(1 + integer), standardized; 0 where missing.
    standard: [Column<f32>; INTEGERS.len()],
    /// Number of the category's id; the cardinality itself where missing.
    ids: [Column<u32>; CATEGORIES.len()],
    embeddings: [Column<Embedding>; CATEGORIES.len()],
    /// Before scaling.
    logits: Column<f32>,
    /// Uniform bits that decide the clicks.
    chances: Column<u32>,
}

impl Columns {
    fn new() -> Self {
        Columns {
            traits: [[0; COLUMN_ROWS]; TRAITS],
            integers: [[0; COLUMN_ROWS]; INTEGERS.len()],
            standard: [[0.0; COLUMN_ROWS]; INTEGERS.len()],
            ids: [[0; COLUMN_ROWS]; CATEGORIES.len()],
            embeddings: [[[0.0; EMBEDDING]; COLUMN_ROWS]; CATEGORIES.len()],
            logits: [0.0; COLUMN_ROWS],
            chances: [0; COLUMN_ROWS],
        }
    }

    fn draw(&mut self, fields: &Fields, draw: &mut Draw) {
        self.logits.fill(0.0);
        for values in &mut self.traits {
            values.fill_with(|| draw.bits() as u32);
        }
        self.chances.fill_with(|| draw.bits() as u32);
        for index in 0..INTEGERS.len() {
            self.draw_integers(index, fields, draw);
        }
        for index in 0..CATEGORIES.len() {
            self.draw_categories(index, fields, draw);
        }
        self.add_products(fields);
    }

    fn draw_integers(&mut self, index: usize, fields: &Fields, draw: &mut Draw) {
        let (mu, sigma, _) = INTEGERS[index];
        let (field, below_zero) = (&fields.integers[index], BELOW_ZERO[index]);
        let (values, standard) = (&mut self.integers[index], &mut self.standard[index]);
        let mut missing = [false; COLUMN_ROWS];
        let mut logarithms = [0.0f32; COLUMN_ROWS];
        for row in 0..COLUMN_ROWS {
            let bits = draw.bits();
            let noise = fields.normal.quantile((bits >> 32) as u32);
            let shared = fields.normal.quantile(self.traits[index % TRAITS][row]);
            logarithms[row] = mu + sigma * (0.6 * shared + 0.8 * noise);
            missing[row] = (bits as u32) < field.missing;
        }
        // No look-ups from here on, so that the loop runs in vectors.
        for row in 0..COLUMN_ROWS {
            let value = floor(exp(f64::from(logarithms[row])).min(LARGEST_INTEGER)) - below_zero;
            let x = (ln(1.0 + f64::from(value.max(0))) as f32 - field.mean) * field.per_deviation;
            let bent = 2.0 * x - 1.0;
            // A rational curve from −1 to 1, as tanh, for a fraction of its time.
            let effect = field.slope * x + field.bend * bent / (1.0 + bent.abs());
            self.logits[row] += if missing[row] { field.effect_of_missing } else { effect };
            standard[row] = if missing[row] { 0.0 } else { x };
            values[row] = if missing[row] { MISSING_INTEGER } else { value };
        }
    }

    fn draw_categories(&mut self, index: usize, fields: &Fields, draw: &mut Draw) {
        let field = &fields.categories[index];
        let (ids, embeddings) = (&mut self.ids[index], &mut self.embeddings[index]);
        for row in 0..COLUMN_ROWS {
            let bits = draw.bits();
            let (own, coin) = ((bits >> 32) as u32, bits as u32);
            let near_trait = self.traits[index % TRAITS][row].wrapping_add(own >> 3);
            let place = if coin & 1 == 0 { own } else { near_trait };
            let rank = field.popularity.rank(place.wrapping_add(field.turn));
            let id = if coin < field.missing { field.cardinality } else { rank };
            let variant = scramble(field.key ^ u64::from(id));
            ids[row] = id;
            self.logits[row] += fields.mains[variant as usize % VARIANTS];
            embeddings[row] = fields.embeddings[(variant >> 32) as usize % VARIANTS];
        }
    }

    fn add_products(&mut self, fields: &Fields) {
        let mut sums = [[0.0; EMBEDDING]; COLUMN_ROWS];
        for &(a, b) in &fields.pairs {
            let (left, right) = (self.embeddings[a].as_flattened(), self.embeddings[b].as_flattened());
            for ((sum, left), right) in sums.as_flattened_mut().iter_mut().zip(left).zip(right) {
                *sum += left * right;
            }
        }
        for (logit, [e0, e1, e2, e3]) in self.logits.iter_mut().zip(&sums) {
            *logit += PAIR * ((e0 + e1) + (e2 + e3));
        }
        for (integer, category) in INTEGER_CATEGORY {
            for row in 0..COLUMN_ROWS {
                self.logits[row] +=
                    INTEGER_BY_CATEGORY * self.standard[integer][row] * self.embeddings[category][row][0];
            }
        }
    }

    /// Appends one line: label, 13 integers, 26 ids, with tabs between; an empty cell is a missing value.
    fn write(&self, row: usize, click: bool, block: &mut Block) {
        let mut line = Line::default();
        line.0[0] = if click { b'1' } else { b'0' };
        let mut end = 1;
        for values in &self.integers {
            line.0[end] = b'\t';
            end += 1;
            if values[row] != MISSING_INTEGER {
                end = line.signed(end, values[row]);
            }
        }
        for (index, ids) in self.ids.iter().enumerate() {
            let id = ids[row];
            line.0[end] = b'\t';
            // A missing id is overwritten by what follows.
            line.0[end + 1..end + 9].copy_from_slice(&id_text(index as u32, id));
            end += if id == CATEGORIES[index].0 { 1 } else { 9 };
        }
        line.0[end] = b'\n';
        block.text.bytes(&line.0[..=end]);
    }
}

/// The eight digits of an id: scrambled by a bijection, so that ids of a field never collide and their order says nothing.
fn id_text(field: u32, id: u32) -> [u8; 8] {
    let mut x = id.wrapping_add((field + 1).wrapping_mul(0x9e37_79b1));
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    hex(x ^ (x >> 16))
}
