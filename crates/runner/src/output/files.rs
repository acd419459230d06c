//! Files that the runner writes: sealed Parquet, and Arrow for what only rescan reads again. Each is summed, and handed in
//! to be synced while others are written.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use journal::{Checksum, JournalError, Sum, Syncs, checksum_of, create_dirs};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use scan::unshared;

use crate::output::dictionary::hardly_repeats;

/// Writes rows as Parquet. The same rows give the same bytes: nothing in it says when, where or by which build. Bounds
/// of a column are of use where rows are looked for: in time, and in the first column of the key, by which they come.
pub(crate) fn write_parquet(
    path: &Path,
    schema: &SchemaRef,
    key: &[String],
    rows: impl IntoIterator<Item = Result<RecordBatch>>,
    syncs: &Syncs,
) -> Result<Sum> {
    parquet(path, SHARED, schema, key, rows, syncs)
}

/// Writes rows that were put aside as Parquet. What was rejected is there as it came, whoever it is about: only the owner
/// may read it.
pub(crate) fn write_aside(
    path: &Path,
    schema: &SchemaRef,
    rows: impl IntoIterator<Item = Result<RecordBatch>>,
    syncs: &Syncs,
) -> Result<Sum> {
    parquet(path, OWN, schema, &[], rows, syncs)
}

/// Who may read and write a file, as far as the umask lets them.
const SHARED: u32 = 0o666;
/// The owner alone.
const OWN: u32 = 0o600;

fn parquet(
    path: &Path,
    mode: u32,
    schema: &SchemaRef,
    key: &[String],
    rows: impl IntoIterator<Item = Result<RecordBatch>>,
    syncs: &Syncs,
) -> Result<Sum> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("rescan".to_owned());
    for field in schema.fields() {
        if key.first() == Some(field.name()) || *field.data_type() == connector::TIME {
            let column = ColumnPath::from(field.name().as_str());
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Chunk);
        }
    }
    let mut rows = rows.into_iter().peekable();
    for (at, field) in schema.fields().iter().enumerate() {
        if matches!(rows.peek(), Some(Ok(piece)) if hardly_repeats(piece, at)) {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
        }
    }
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    written(path, mode, syncs, |mut file| {
        let mut writer = ArrowWriter::try_new_with_options(&mut file, schema.clone(), options)?;
        rows.try_for_each(|rows| anyhow::Ok(writer.write(&rows?)?))?;
        // Not by `into_inner`, which would hide why the last bytes could not be written.
        writer.close()?;
        Ok(file)
    })
}

/// Writes rows as an Arrow file.
pub(crate) fn write_arrow(path: &Path, schema: &SchemaRef, rows: &[RecordBatch], syncs: &Syncs) -> Result<Sum> {
    written(path, SHARED, syncs, |file| {
        let mut writer = FileWriter::try_new(file, schema)?;
        rows.iter().try_for_each(|rows| writer.write(&unshared(rows)?))?;
        writer.finish()?;
        Ok(writer.into_inner()?)
    })
}

/// Writes these bytes.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8], syncs: &Syncs) -> Result<Sum> {
    written(path, SHARED, syncs, |mut file| {
        file.write_all(bytes)?;
        Ok(file)
    })
}

type Summed = Checksum<BufWriter<File>>;

fn written(path: &Path, mode: u32, syncs: &Syncs, write: impl FnOnce(Summed) -> Result<Summed>) -> Result<Sum> {
    let written = || {
        create_dirs(path.parent().unwrap_or(Path::new(".")))?;
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        let mut file = write(Checksum::new(BufWriter::with_capacity(1 << 20, made)))?;
        file.flush()?;
        let sum = file.sum();
        syncs.add(path, file.into_inner().into_inner().map_err(std::io::IntoInnerError::into_error)?);
        Ok(sum)
    };
    let done: Result<Sum> = written();
    done.with_context(|| format!("write {}", path.display()))
}

/// Reads an Arrow file back whose length and checksum are known.
pub(crate) fn read_arrow(path: &Path, sum: &Sum) -> Result<Vec<RecordBatch>> {
    check(path, &checksum_of(path).with_context(|| format!("read {}", path.display()))?, sum)?;
    let file = fs::File::open(path).with_context(|| format!("read {}", path.display()))?;
    let reader = FileReader::try_new_buffered(file, None).with_context(|| format!("read {}", path.display()))?;
    reader.collect::<Result<_, _>>().with_context(|| format!("read {}", path.display()))
}

/// Copies a file whose length and checksum are known.
pub(crate) fn copy(from: &Path, to: &Path, sum: &Sum, syncs: &Syncs) -> Result<()> {
    let mut file = File::open(from).with_context(|| format!("read {}", from.display()))?;
    let copied = written(to, SHARED, syncs, |mut copy| {
        std::io::copy(&mut file, &mut copy)?;
        Ok(copy)
    })?;
    check(from, &copied, sum)
}

/// That a file is as it was written.
fn check(path: &Path, found: &Sum, sum: &Sum) -> Result<()> {
    let what = || {
        format!(
            "has {} bytes and checksum {}, and was written with {} and {}",
            found.bytes, found.checksum, sum.bytes, sum.checksum
        )
    };
    ensure!(found == sum, JournalError::Corrupt { path: path.to_owned(), what: what() });
    Ok(())
}
