//! Whether a new file holds nothing but rows that were read, or are to be read, of another: rotation copies and compresses
//! files beside one another, and may keep both.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Result;

use crate::failure::failed;
use crate::files::input::{InputFile, Stat};
use crate::files::known::Known;
use crate::files::known::contents::heads;
use crate::files::known::mark::FileMark;
use crate::files::names;
use crate::files::text_file::unpacked;

/// What a file of which nothing was read is to the others.
pub(crate) enum Kinship {
    /// All of it is to be read.
    None,
    /// It holds nothing but the beginning of a file that was read.
    Copy,
    /// The same of a file that is to be read first.
    Later,
    /// A file that it may be a copy of is not any more as it was when last looked.
    Unclear,
}

/// What a file is to those that rotation may have made it of, by their names: to all that were read, and of the others to
/// the one that it would replace.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn kinship(file: &InputFile, known: &Known) -> Result<Kinship> {
    let plain = names::plain(&file.name);
    if plain == file.name || !file.is_text() {
        return Ok(Kinship::None);
    }
    let said = |e| failed(format!("read {}", file.path.display()), e);
    let unpacked = names::unpacked(&file.name);
    let (heads, rows) = heads(file)?;
    for (name, mark) in known.of_plain_name(plain).filter(|(name, _)| *name != file.name) {
        let may_be = match rows {
            // As long as nothing is in it, it is to become a copy of the one that it would replace.
            0 => [unpacked, plain].contains(&name),
            1 => true,
            _ => heads.contains(&mark.head),
        };
        if !may_be {
            continue;
        }
        let original = file.beside(name);
        if !is_as_read(&original, mark) {
            return Ok(Kinship::Unclear);
        }
        if begins_with(&original, &file.path).map_err(said)? {
            return Ok(Kinship::Copy);
        }
    }
    for name in [unpacked, plain].into_iter().filter(|name| *name != file.name) {
        let original = file.beside(name);
        let is_read = known.mark(name).is_some_and(|mark| mark.row > 0);
        if !is_read && begins_with(&original, &file.path).map_err(said)? {
            return Ok(Kinship::Later);
        }
    }
    Ok(Kinship::None)
}

fn is_as_read(path: &Path, mark: &FileMark) -> bool {
    let same = |stat: Stat| stat.is_same_file(&mark.stat) && stat.bytes >= mark.stat.bytes;
    std::fs::metadata(path).is_ok_and(|metadata| same(Stat::of(&metadata)))
}

/// Whether a file begins with all that another holds so far.
fn begins_with(whole: &Path, part: &Path) -> io::Result<bool> {
    let packed = |path: &Path| path.to_str().is_some_and(names::is_packed);
    let (Ok(open_whole), Ok(open_part)) = (File::open(whole), File::open(part)) else { return Ok(false) };
    let (mut whole, mut part) = (unpacked(open_whole, packed(whole))?, unpacked(open_part, packed(part))?);
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    loop {
        expected.clear();
        found.clear();
        let end = match part.by_ref().take(1 << 16).read_to_end(&mut found) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => true,
            read => read? == 0,
        };
        match whole.by_ref().take(found.len() as u64).read_to_end(&mut expected) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            read => _ = read?,
        }
        if found != expected {
            return Ok(false);
        }
        if end {
            return Ok(true);
        }
    }
}
