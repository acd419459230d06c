//! Decoding on a thread of its own, a little ahead of the caller, so that both work at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::thread;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::fault::SourceError;
use crate::files::walk::{Step, Walk};

/// Blocks decoded and not asked for yet, besides the one in the making.
const AHEAD: usize = 2;

/// What the thread has found; dropping this stops it.
pub(crate) struct Ahead {
    found: mpsc::Receiver<Result<Option<Step>>>,
    look_again: blocking::Sender<()>,
    rows_max: Arc<AtomicUsize>,
    /// Whether the thread waits to be told to look again.
    idle: bool,
}

/// What there is to have now.
pub(crate) enum Found {
    Step(Step),
    /// The end of what is there, or only that nothing is decoded yet.
    End,
    NotYet,
}

impl Ahead {
    pub(crate) fn start(walk: Walk) -> Result<Self> {
        let (found_in, found) = mpsc::channel(AHEAD);
        let (look_again, look) = blocking::channel();
        let rows_max = Arc::new(AtomicUsize::new(1));
        let rows = rows_max.clone();
        let work = move || run(walk, &found_in, &look, &rows);
        thread::Builder::new().name("decode".to_owned()).spawn(work).context("start the decoding thread")?;
        // The thread starts idle: the first `next` says how many rows are wanted.
        Ok(Self { found, look_again, rows_max, idle: true })
    }

    /// What comes next in the input. Waits for it, or with `wait` unset answers [`Found::NotYet`]. After the end it
    /// looks whether there is more.
    pub(crate) async fn next(&mut self, rows_max: usize, wait: bool) -> Result<Found> {
        self.rows_max.store(rows_max, Ordering::Relaxed);
        if std::mem::take(&mut self.idle) {
            // Fails only where the thread has ended, and then there is no message either.
            let _ = self.look_again.send(());
        }
        let found = if wait {
            self.found.recv().await
        } else {
            match self.found.try_recv() {
                Err(TryRecvError::Empty) => return Ok(Found::NotYet),
                found => found.ok(),
            }
        };
        match found.context("the decoding thread has ended")?? {
            Some(step) => Ok(Found::Step(step)),
            None => {
                self.idle = true;
                Ok(Found::End)
            }
        }
    }
}

/// Ends with the first error, or when nobody listens any more.
fn run(
    mut walk: Walk,
    found: &mpsc::Sender<Result<Option<Step>>>,
    look_again: &blocking::Receiver<()>,
    rows_max: &AtomicUsize,
) {
    let hungry = || found.capacity() > 0;
    let mut idle = true;
    while !idle || look_again.recv().is_ok() {
        let decode = AssertUnwindSafe(|| walk.next(rows_max.load(Ordering::Relaxed), &hungry));
        // A file that makes a decoding library panic is bad data, and no reason to take the process down.
        let next = catch_unwind(decode).unwrap_or_else(|_| {
            let what = format!("{}: it is damaged, and cannot be decoded", walk.reading());
            Err(SourceError::BadData(what).into())
        });
        idle = matches!(next, Ok(None));
        let failed = next.is_err();
        if found.blocking_send(next).is_err() || failed {
            return;
        }
    }
}
