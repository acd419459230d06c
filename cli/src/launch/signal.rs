//! Signals that end a run: it finishes its epoch first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a run exits with that a signal stopped: to be run again.
pub const STOPPED: u8 = 75;

/// How long a run may take to finish its epoch after a signal: supervisors kill after 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// The first signal asks the run to stop after its epoch; the second, or the end of its grace, ends it at once, as safe
/// as kill -9.
pub fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    tokio::spawn(async move {
        signalled().await;
        set.store(true, Ordering::Relaxed);
        eprintln!("rescan: stopping after this epoch; once more stops at once");
        tokio::select! {
            () = signalled() => std::process::exit(130),
            () = tokio::time::sleep(GRACE) => {
                eprintln!("rescan: stopped within an epoch, which is dropped: run it again to go on");
                std::process::exit(STOPPED.into());
            }
        }
    });
    stop
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
