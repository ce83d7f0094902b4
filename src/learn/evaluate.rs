//! A bundle and rows → probabilities and their metrics.

use crate::error::Result;
use crate::learn::Interrupt;
use crate::learn::dataset::{Behind, Piece, View};
use crate::metrics::{Evaluation, evaluate};
use crate::model::Threads;
use crate::model::bundle::{Bundle, ScoreScratch};

/// Rows that one thread scores at a time.
const BLOCK_ROWS: usize = 4096;

/// Rows scored between two looks at the interrupt.
const ROUND_BLOCKS: usize = 32;

/// Calibrated probabilities of a view's rows, in order. The same bits at any number of threads.
///
/// # Errors
/// Interrupted.
pub fn probabilities(
    bundle: &Bundle,
    view: &View<'_>,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let mut all = Vec::with_capacity(view.rows());
    by_blocks(
        view,
        threads,
        interrupt,
        |codes, scratch| {
            let mut block = Vec::new();
            bundle.score(codes, scratch, &mut block);
            block
        },
        |block: Vec<f64>| all.extend(block),
    )?;
    Ok(all)
}

/// Uncalibrated logits of a view's rows, in order.
///
/// # Errors
/// Interrupted.
pub fn logits(bundle: &Bundle, view: &View<'_>, threads: Threads<'_>, interrupt: &Interrupt) -> Result<Vec<f32>> {
    let mut all = Vec::with_capacity(view.rows());
    by_blocks(
        view,
        threads,
        interrupt,
        |codes, scratch| bundle.logits(codes, scratch).to_vec(),
        |block: Vec<f32>| {
            all.extend(block);
        },
    )?;
    Ok(all)
}

/// Every metric of a bundle on a view; `None` when the view has no rows or no weight.
///
/// # Errors
/// Interrupted.
pub fn evaluate_view(
    bundle: &Bundle,
    view: &View<'_>,
    threads: Threads<'_>,
    interrupt: &Interrupt,
) -> Result<Option<Evaluation>> {
    let probabilities = probabilities(bundle, view, threads, interrupt)?;
    Ok(evaluate(&view.labels(), &probabilities, view.weights().as_deref(), view.groups().as_deref()))
}

fn by_blocks<T: Send>(
    view: &View<'_>,
    threads: Threads<'_>,
    interrupt: &Interrupt,
    work: impl Fn(&[u32], &mut ScoreScratch) -> Vec<T> + Sync + Send,
    mut take: impl FnMut(Vec<T>),
) -> Result<()> {
    let width = view.dataset().width();
    let blocks: Vec<(usize, &[u32])> = view.pieces().flat_map(|piece| cut(piece, width)).collect();
    let mut behind = Behind::new(view);
    for round in blocks.chunks(ROUND_BLOCKS) {
        interrupt.check()?;
        behind.release_before(round[0].0);
        // One scratch for each run of blocks: as many runs as threads, cut the same way every time.
        let runs: Vec<&[(usize, &[u32])]> = round.chunks(round.len().div_ceil(threads.count())).collect();
        let results = threads.map(runs, |run| {
            let mut scratch = ScoreScratch::default();
            run.iter().map(|(_, codes)| work(codes, &mut scratch)).collect::<Vec<_>>()
        });
        results.into_iter().flatten().for_each(&mut take);
    }
    Ok(())
}

/// Blocks of a piece: the first row of each, and its codes.
fn cut(piece: Piece<'_>, width: usize) -> impl Iterator<Item = (usize, &[u32])> {
    let firsts = piece.rows.step_by(BLOCK_ROWS);
    firsts.zip(piece.codes.chunks(BLOCK_ROWS * width))
}
