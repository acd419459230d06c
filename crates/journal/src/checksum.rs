//! How files are told apart and damage is found: XXH3-128, computed while they are written, and their length.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use twox_hash::xxhash3_128::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};

/// What identifies the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Length in bytes.
    pub bytes: u64,
    /// XXH3-128 of the bytes: 32 lower-case hex digits, as `xxh128sum` prints them.
    pub checksum: String,
}

impl Sum {
    /// The sum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut state = State::new();
        state.update(bytes);
        state.sum()
    }
}

/// A writer that passes everything on and sums it on the way.
pub struct Checksum<W> {
    inner: W,
    state: State,
}

impl<W: Write> Checksum<W> {
    /// Starts with nothing written.
    pub fn new(inner: W) -> Self {
        Self { inner, state: State::new() }
    }

    /// The sum of what the inner writer has taken so far.
    #[must_use]
    pub fn sum(&self) -> Sum {
        self.state.sum()
    }

    /// The inner writer, unflushed.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Checksum<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(buffer)?;
        self.state.update(buffer.get(..taken).unwrap_or(buffer));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The sum of a file, read once in 64 KiB pieces.
///
/// # Errors
/// The file cannot be opened or read.
pub fn checksum_of(path: &Path) -> io::Result<Sum> {
    let mut file = File::open(path)?;
    let mut state = State::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(state.sum()),
            n => state.update(buffer.get(..n).unwrap_or(&buffer)),
        }
    }
}

struct State {
    // Not twox_hash::XxHash3_128: it wants the feature `alloc`, and that would compile parquet and all above it anew.
    hasher: RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>,
    bytes: u64,
}

impl State {
    fn new() -> Self {
        Self { hasher: RawHasher::new(SecretBuffer::default()), bytes: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn sum(&self) -> Sum {
        Sum { bytes: self.bytes, checksum: format!("{:032x}", self.hasher.finish_128()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most three bytes a call, as a pipe or a full disk may.
    struct Short(Vec<u8>);

    impl Write for Short {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0.write(&buffer[..buffer.len().min(3)])
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn is_the_published_function() {
        assert_eq!(Sum::of(b""), Sum { bytes: 0, checksum: "99aa06d3014798d86001c324468d497f".into() });
        let long: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        let expected = twox_hash::XxHash3_128::oneshot(&long);
        assert_eq!(Sum::of(&long).checksum, format!("{expected:032x}"));
    }

    #[test]
    fn sums_what_was_taken_and_not_what_was_offered() {
        let mut writer = Checksum::new(Short(Vec::new()));
        assert_eq!(writer.write(b"abcdef").unwrap(), 3);
        assert_eq!(writer.sum(), Sum::of(b"abc"));
        writer.write_all(b"defgh").unwrap();
        assert_eq!(writer.sum(), Sum::of(b"abcdefgh"));
        assert_eq!(writer.into_inner().0, b"abcdefgh");
    }

    #[test]
    fn a_file_has_the_sum_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..200_001u32).map(|i| (i % 253) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(checksum_of(&path).unwrap(), Sum::of(&bytes));
        assert_eq!(checksum_of(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
