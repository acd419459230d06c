//! Memory that the allocator keeps instead of giving it back.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use scan::Limits;

/// glibc's settings, read when a process starts.
const ARENAS: &str = "MALLOC_ARENA_MAX";
const TRIM: &str = "MALLOC_TRIM_THRESHOLD_";
const MAP: &str = "MALLOC_MMAP_THRESHOLD_";

/// Up to this much that is free stays with the process, and blocks up to this size are made of it.
const KEPT_BYTES: usize = 1 << 30;
const BLOCK_BYTES: usize = 32 << 20;

/// Starts the program anew with glibc set for it, unless somebody has set it. Returns where there is nothing to do, or
/// it cannot be done.
///
/// No more arenas than threads that work: glibc gives threads up to eight a core, and what one of them freed is of no
/// use to another: a day's join took twice its memory. And what one plan of a run freed is kept for the next: an eighth
/// of the join's time went into pages given back, and handed out again as zeros. Not where memory is limited.
pub fn tune(limits: Limits) {
    if std::env::var_os(ARENAS).is_some() || !cfg!(target_env = "gnu") {
        return;
    }
    let mut words = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), words.next()) else { return };
    let mut again = Command::new(program);
    again.arg0(name).args(words).env(ARENAS, limits.threads.to_string());
    if limits.memory.is_none() {
        again.env(TRIM, KEPT_BYTES.to_string()).env(MAP, BLOCK_BYTES.to_string());
    }
    let _not_started = again.exec();
}
