//! Memory that the allocator keeps for each thread.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use scan::Limits;

/// glibc's setting, read when a process starts.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Starts the program anew with no more arenas than threads that work: glibc gives threads up to eight a core, and what
/// one of them freed is of no use to another: a day's join took twice its memory. Returns where there is nothing to do,
/// or it cannot be done.
pub fn limit(limits: Limits) {
    if std::env::var_os(ARENAS).is_some() || !cfg!(target_env = "gnu") {
        return;
    }
    let mut words = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), words.next()) {
        let _not_started = Command::new(program).arg0(name).args(words).env(ARENAS, limits.threads.to_string()).exec();
    }
}
