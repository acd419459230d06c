//! A file that nobody sees before it is whole: written as `.NAME`, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) struct Hidden {
    file: File,
    hidden: PathBuf,
    path: PathBuf,
}

impl Hidden {
    /// Begins the file that is to be `directory/name`, with the directories above it.
    pub(crate) fn create(directory: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let (hidden, path) = (directory.join(format!(".{name}")), directory.join(name));
        let file = File::create(&hidden).with_context(|| format!("cannot write {}", hidden.display()))?;
        Ok(Self { file, hidden, path })
    }

    /// Gives the file its name, in place of any that has it.
    pub(crate) fn publish(self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.hidden.display()))?;
        fs::rename(&self.hidden, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Write for Hidden {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
