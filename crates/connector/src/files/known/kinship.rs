//! Whether a new file holds nothing but rows that were read, or are to be read, of another: rotation copies and compresses
//! files beside one another, and may keep both.

use std::fs::File;
use std::io::{self, Read};

use anyhow::Result;

use crate::failure::failed;
use crate::files::input::{InputFile, Stat};
use crate::files::known::Known;
use crate::files::known::contents::heads;
use crate::files::known::mark::FileMark;
use crate::files::names;
use crate::files::text_file::unpacked;

/// What a file is to the others, and the names by which it was compared with them.
pub(crate) struct Compared<'a> {
    pub kinship: Kinship,
    /// None of them has to be there.
    pub names: Vec<&'a str>,
}

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
/// [`Moved`](crate::files::input::Moved); a file that cannot be read.
pub(crate) fn compared<'a>(file: &'a InputFile, known: &'a Known) -> Result<Compared<'a>> {
    let mut names = Vec::new();
    let kinship = kinship(file, known, &mut names)?;
    Ok(Compared { kinship, names })
}

fn kinship<'a>(file: &'a InputFile, known: &'a Known, compared: &mut Vec<&'a str>) -> Result<Kinship> {
    let plain = names::plain(&file.name);
    if plain == file.name || !file.is_text() {
        return Ok(Kinship::None);
    }
    let said = |e| failed(format!("read {}", file.path.display()), e);
    let unpacked = names::unpacked(&file.name);
    let (heads, rows) = heads(file)?;
    let begins = |name: &str, original: File| {
        begins_with((original, names::is_packed(name)), (file.open()?, file.packed)).map_err(said)
    };
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
        compared.push(name);
        let as_read =
            |original: &File| stat_as_read(original, mark).filter(|_| known.ends_as_read(name, original, mark));
        let original = File::open(file.beside(name)).ok();
        let Some((original, before)) = original.and_then(|original| as_read(&original).map(|stat| (original, stat)))
        else {
            return Ok(Kinship::Unclear);
        };
        if begins(name, original.try_clone().map_err(said)?)? {
            return Ok(Kinship::Copy);
        }
        // It may have been truncated while it was compared.
        if as_read(&original) != Some(before) {
            return Ok(Kinship::Unclear);
        }
    }
    for name in [unpacked, plain].into_iter().filter(|name| *name != file.name) {
        compared.push(name);
        let is_read = known.mark(name).is_some_and(|mark| mark.row > 0);
        let original = File::open(file.beside(name)).ok().filter(|_| !is_read);
        if original.map_or(Ok(false), |original| begins(name, original))? {
            return Ok(Kinship::Later);
        }
    }
    Ok(Kinship::None)
}

/// What an open file looks like, where it may hold all that was read of it.
fn stat_as_read(open: &File, mark: &FileMark) -> Option<Stat> {
    let stat = open.metadata().ok().map(|metadata| Stat::of(&metadata))?;
    (stat.is_same_file(&mark.stat) && stat.bytes >= mark.stat.bytes).then_some(stat)
}

/// Whether a file begins with all that another holds so far; each with whether it is compressed.
fn begins_with(whole: (File, bool), part: (File, bool)) -> io::Result<bool> {
    let (mut whole, mut part) = (unpacked(whole.0, whole.1)?, unpacked(part.0, part.1)?);
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
