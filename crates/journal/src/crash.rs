//! For tests: stops this thread's changes to the disk at a chosen step, and takes away what a power cut could take.
//!
//! The model of the disk is a weak one: a name holds once its directory is synced, content once its file is; all else
//! may be lost, name by name. A rename is two names.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::op::{Op, folder};

#[derive(Default)]
struct Disk {
    steps_left: Option<u32>,
    /// Names changed since their directory was synced, with what they named before.
    names: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// Files whose content was not synced.
    contents: Vec<PathBuf>,
    steps: Vec<(Op, PathBuf)>,
}

thread_local! { static DISK: RefCell<Disk> = RefCell::default(); }

/// Forgets everything, and stops at the step with this index, if any.
pub(crate) fn stop_at(step: Option<u32>) {
    DISK.with_borrow_mut(|disk| *disk = Disk { steps_left: step, ..Disk::default() });
}

/// Goes on after a stop, remembering what is not synced; stops again at the step with this index from here.
pub(crate) fn restart(step: Option<u32>) {
    DISK.with_borrow_mut(|disk| disk.steps_left = step);
}

/// The steps since [`stop_at`].
pub(crate) fn steps() -> Vec<(Op, PathBuf)> {
    DISK.with_borrow(|disk| disk.steps.clone())
}

/// What a power cut does: names and contents that are not synced are lost, unless `kept`.
pub(crate) fn cut_power(kept: impl Fn(&Path) -> bool) {
    let disk = DISK.with_borrow_mut(std::mem::take);
    for path in disk.contents.iter().filter(|path| path.exists() && !kept(path)) {
        rewrite(path, b"");
    }
    for (path, before) in disk.names.iter().rev().filter(|(path, _)| !kept(path)) {
        match before {
            Some(bytes) if folder(path).is_dir() => rewrite(path, bytes),
            _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            _ => drop(fs::remove_file(path)),
        }
    }
}

/// The seam in `durable`.
pub(crate) fn step(op: Op, path: &Path, to: Option<&Path>) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| {
        if let Some(left) = &mut disk.steps_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("stopped by the test"))?;
        }
        disk.steps.push((op, to.unwrap_or(path).to_owned()));
        disk.note(op, path, to.unwrap_or(path));
        Ok(())
    })
}

impl Disk {
    fn note(&mut self, op: Op, path: &Path, to: &Path) {
        let mut renamed = |path: &Path| self.names.push((path.to_owned(), fs::read(path).ok()));
        match op {
            Op::Create | Op::Link | Op::MakeDir => renamed(to),
            Op::Remove => renamed(path),
            Op::Rename => [to, path].into_iter().for_each(renamed),
            Op::SyncDir => self.names.retain(|(name, _)| folder(name) != path),
            Op::Sync => self.contents.retain(|file| file != path),
        }
        if op == Op::Create || (to != path && self.contents.iter().any(|file| file == path)) {
            self.contents.push(to.to_owned());
        }
    }
}

/// As a new file, so that other links to the old one keep their content.
fn rewrite(path: &Path, bytes: &[u8]) {
    drop(fs::remove_file(path));
    fs::write(path, bytes).unwrap();
}
