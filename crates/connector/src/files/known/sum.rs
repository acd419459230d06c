//! What a file is known by again: a sum of the rows that were read of it, or of a whole Parquet file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use twox_hash::XxHash3_128;

/// XXH3-128 of rows of text, chained, so that each row's end has a sum that costs nothing to keep. Line ends and blank
/// lines do not count: a last line is the same with and without its newline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RowSum(pub u128);

/// Odd, so that no two sums become one.
const STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl RowSum {
    pub(crate) fn add(&mut self, row: &[u8]) {
        self.0 = (self.0 ^ XxHash3_128::oneshot(row)).wrapping_mul(STEP).rotate_left(57);
    }
}

/// A sum of all bytes, a mebibyte after the other.
pub(crate) fn of_file(mut file: File) -> io::Result<u128> {
    let (mut block, mut sum) = (Vec::new(), RowSum::default());
    loop {
        block.clear();
        if file.by_ref().take(1 << 20).read_to_end(&mut block)? == 0 {
            return Ok(sum.0);
        }
        sum.add(&block);
    }
}

/// XXH3-128 of the last bytes before a position, 64 KiB at most: what tells cheaply that a file has only grown.
///
/// # Errors
/// The file ends before the position, or a row goes on there that had ended.
pub(crate) fn of_tail(file: &File, position: u64) -> io::Result<u128> {
    let start = position.saturating_sub(64 << 10);
    let mut bytes = vec![0; (position - start) as usize];
    file.read_exact_at(&mut bytes, start)?;
    let mut next = [b'\n'];
    file.read_at(&mut next, position)?;
    let ended = bytes.last().is_none_or(u8::is_ascii_whitespace) || b"\r\n".contains(&next[0]);
    if ended { Ok(XxHash3_128::oneshot(&bytes)) } else { Err(io::ErrorKind::InvalidData.into()) }
}
