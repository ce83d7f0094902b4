//! The thread of the log: answers from the queue → lines in the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::files::Files;
use super::line::Line;
use super::{Answer, Counters};
use crate::predict::background::give_way;

/// Pause between two looks into the queue. Looking, and not being woken, so that requests make no system call to hand over.
const PAUSE: Duration = Duration::from_millis(10);
/// Pause after a failure before the file is tried again.
const REST: Duration = Duration::from_secs(1);
/// Bytes that are written at once, about.
const BATCH: usize = 256 << 10;

pub(super) struct Writer {
    files: Files,
    codes: bool,
    counters: Arc<Counters>,
    /// When writing failed last.
    failed: Option<Instant>,
    lines: Vec<u8>,
}

impl Writer {
    pub(super) fn new(files: Files, codes: bool, counters: Arc<Counters>) -> Writer {
        Writer { files, codes, counters, failed: None, lines: Vec::new() }
    }

    /// Until nobody can send any more and everything that waits is written.
    pub(super) fn run(&mut self, answers: &Receiver<Answer>) {
        give_way();
        loop {
            let ended = self.drain(answers);
            if ended {
                self.files.flush();
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Writes what waits; whether nobody can send any more.
    fn drain(&mut self, answers: &Receiver<Answer>) -> bool {
        loop {
            self.lines.clear();
            let mut count = 0;
            let end = loop {
                match answers.try_recv() {
                    Ok(answer) => {
                        count += 1;
                        self.push(&answer);
                        if self.lines.len() >= BATCH {
                            break None;
                        }
                    }
                    Err(end) => break Some(end),
                }
            };
            self.write(count);
            match end {
                None => {}
                Some(TryRecvError::Empty) => return false,
                Some(TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn push(&mut self, answer: &Answer) {
        let before = self.lines.len();
        match serde_json::to_writer(&mut self.lines, &Line::of(answer, self.codes)) {
            Ok(()) => self.lines.push(b'\n'),
            // Only memory can fail, and it does not say so; a line that cannot be written is no line.
            Err(_) => self.lines.truncate(before),
        }
    }

    fn write(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        let rests = self.failed.is_some_and(|failed| failed.elapsed() < REST);
        let written = if rests { None } else { Some(self.files.write(&self.lines)) };
        let counter = match written {
            Some(Ok(())) => {
                if self.failed.take().is_some() {
                    tracing::info!("the request log is written again");
                }
                &self.counters.written
            }
            Some(Err(error)) => {
                if self.failed.replace(Instant::now()).is_none() {
                    tracing::error!("request log: {error}; requests go on, their lines are lost and counted");
                }
                &self.counters.failed
            }
            None => &self.counters.failed,
        };
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
