//! Memory that the allocator keeps instead of giving it back.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::ArgMatches;

/// Up to this much that is free stays with the process, and blocks up to this size are made of it.
const KEPT_BYTES: usize = 1 << 30;
const BLOCK_BYTES: usize = 32 << 20;

/// Starts the program anew with glibc set for its command, but for what somebody has set. To be called before anything
/// is read. Returns where there is nothing to do, or it cannot be done.
///
/// No more arenas than threads that work: glibc gives threads up to eight a core, and what one of them freed is of no
/// use to another: a day's join took twice its memory. And what one plan of a run freed is kept for the next: an eighth
/// of the join's time went into pages given back, and handed out again as zeros. Not where memory is limited.
pub fn tune(command: &ArgMatches) {
    // Only runs of f have these flags.
    let Ok(limit) = command.try_get_one::<usize>("memory_limit") else { return };
    if !cfg!(target_env = "gnu") {
        return;
    }
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = command.try_get_one("threads").ok().flatten().copied().unwrap_or_else(all).max(1);
    let mut settings = vec![("MALLOC_ARENA_MAX", threads)];
    if limit.is_none() {
        settings.extend([("MALLOC_TRIM_THRESHOLD_", KEPT_BYTES), ("MALLOC_MMAP_THRESHOLD_", BLOCK_BYTES)]);
    }
    settings.retain(|(name, _)| std::env::var_os(name).is_none());
    let mut words = std::env::args_os();
    if let (Ok(program), Some(name), false) = (std::env::current_exe(), words.next(), settings.is_empty()) {
        let settings = settings.into_iter().map(|(name, value)| (name, value.to_string()));
        let _not_started = Command::new(program).arg0(name).args(words).envs(settings).exec();
    }
}
