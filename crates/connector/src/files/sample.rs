//! Which columns do the rows of files have? All rows of small inputs are looked at, and of large ones a sample that is spread
//! over all files, for a key may come late.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};

use anyhow::{Context, Result, bail, ensure};
use arrow::datatypes::Schema;

use crate::decode::infer::Columns;
use crate::decode::text_format::TextFormat;
use crate::failure::failed;
use crate::fault::SourceError;
use crate::files::input::{FileFormat, Input, InputFile};
use crate::files::line::Rows;
use crate::files::parquet_file;
use crate::files::text_file::unpacked;

/// An input of at most so many bytes is small, and a compressed file holds so many times its own.
const SMALL: u64 = 16 << 20;
const PACKED: u64 = 8;

/// So many rows of an input that is not small, at so many places of each file.
const ROWS: usize = 10_000;
const PLACES: u64 = 8;

/// Which rows of an input say what its columns are.
#[derive(Clone, Copy, Debug)]
pub enum Sample {
    /// The first thousand of the first file that has any.
    First,
    /// So many, over all files; where it is not said, all rows of a small input and ten thousand of any other.
    Spread(Option<usize>),
}

/// The schema that rows of `input` suggest (of Parquet, what the first file says): show it to the user, who can save and
/// correct it. `time` is made a timestamp; where it is empty, rows need none.
///
/// # Errors
/// As [`FileSource::open`](crate::FileSource::open); standard input, which cannot be read twice; no column `time`.
pub fn inferred(input: &str, format: Option<FileFormat>, time: &str, sample: Sample) -> Result<Schema> {
    let once = || SourceError::Usage("standard input cannot be read twice: give its schema with --schema".to_owned());
    ensure!(input != "-", once());
    let files = Input::new(input)?.files(format)?.files;
    let files: Vec<&InputFile> = files.iter().filter(|file| !file.rotated).collect();
    let Some(first) = files.first() else {
        bail!(SourceError::Missing(format!("{input} holds no file to infer a schema from: give one with --schema")));
    };
    if !first.is_text() {
        return parquet_file::infer(first, time);
    }
    let mut columns = Columns::default();
    let bytes =
        files.iter().map(|file| if file.packed { file.stat.bytes * PACKED } else { file.stat.bytes }).sum::<u64>();
    match sample {
        Sample::First => {
            let mut files = files.iter();
            while let Some(file) = files.next().filter(|_| columns.is_empty()) {
                add(&mut columns, file, 1000, 1)?;
            }
        }
        Sample::Spread(None) if bytes <= SMALL => {
            files.iter().try_for_each(|file| add(&mut columns, file, usize::MAX, 1))?;
        }
        Sample::Spread(rows) => {
            let rows = rows.unwrap_or(ROWS);
            let every = files.len().div_ceil(rows).max(1);
            let some = files.iter().step_by(every);
            let of_each = (rows / some.len()).max(1);
            some.into_iter().try_for_each(|file| add(&mut columns, file, of_each, PLACES))?;
        }
    }
    columns.schema(time).with_context(|| first.path.display().to_string())
}

/// Adds what some rows of a file have: of JSON from several places, and else the first ones.
fn add(columns: &mut Columns, file: &InputFile, rows_max: usize, places: u64) -> Result<()> {
    let FileFormat::Text(format) = file.format else { return Ok(()) };
    let said = |e| failed(format!("read {}", file.path.display()), e);
    let places = if format == TextFormat::Json && !file.packed { places.min(rows_max as u64) } else { 1 };
    for place in 0..places {
        let mut open = File::open(&file.path).map_err(said)?;
        let at = file.stat.bytes / places * place;
        open.seek(SeekFrom::Start(at)).map_err(said)?;
        let rows = some_rows(unpacked(open, file.packed).map_err(said)?, format, at > 0, rows_max / places as usize);
        let rows = rows.map_err(said)?;
        columns.add(rows.iter().map(Vec::as_slice), format).with_context(|| file.path.display().to_string())?;
    }
    Ok(())
}

/// The next rows; the first of them is none where reading begins in its midst.
fn some_rows(
    from: Box<dyn Read + Send>,
    format: TextFormat,
    is_cut: bool,
    rows_max: usize,
) -> std::io::Result<Vec<Vec<u8>>> {
    let mut rows = Rows::new(from, format, 0);
    if is_cut {
        rows.next(true)?;
    }
    let mut some = Vec::new();
    while some.len() < rows_max {
        let Some(row) = rows.next(true)? else { break };
        some.push(row.bytes.to_vec());
    }
    Ok(some)
}
