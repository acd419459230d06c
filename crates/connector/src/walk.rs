//! From file to file through an input, in the order of their names.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Result, bail};
use arrow::datatypes::Schema;

use crate::block::Block;
use crate::decode::{Decoder, TextFormat};
use crate::fault::SourceError;
use crate::input::{FileFormat, Input, InputFile};
use crate::parquet_file::ParquetFile;
use crate::source::Offset;
use crate::text_file::TextFile;

pub(crate) struct Walk {
    input: Input,
    /// What a pipe gives, until it is opened.
    pipe: Option<Box<dyn Read + Send>>,
    shape: Shape,
    follow: bool,
    /// What was there when last looked.
    files: Vec<InputFile>,
    /// The file being read, and its name.
    current: Option<(String, Open)>,
    /// The files done with, and their bytes.
    passed: BTreeMap<String, u64>,
    start: Offset,
}

/// What rows are to become.
pub(crate) struct Shape {
    pub schema: Schema,
    pub time: String,
    pub format: Option<FileFormat>,
}

enum Open {
    Text(TextFile),
    Parquet(ParquetFile),
}

impl Walk {
    /// # Errors
    /// The input does not exist, or without `follow` holds no file.
    pub(crate) fn new(path: &str, shape: Shape, follow: bool) -> Result<Self> {
        let input = Input::new(path)?;
        let files = input.files(shape.format)?;
        if files.is_empty() && !follow {
            bail!(SourceError::Missing(format!("{path} holds no file")));
        }
        let (passed, start) = (BTreeMap::new(), Offset::default());
        Ok(Self { input, pipe: None, shape, follow, files, current: None, passed, start })
    }

    pub(crate) fn pipe(pipe: Box<dyn Read + Send>, shape: Shape) -> Self {
        let (passed, start) = (BTreeMap::new(), Offset::default());
        let (input, files) = (Input::Pipe, vec![]);
        Self { input, pipe: Some(pipe), shape, follow: false, files, current: None, passed, start }
    }

    /// Starts at an offset instead of the beginning.
    pub(crate) fn seek(&mut self, offset: &Offset) -> Result<()> {
        self.start = offset.clone();
        if matches!(self.input, Input::Pipe) || offset.file.is_empty() {
            return Ok(());
        }
        let Some(file) = self.files.iter().find(|f| f.name == offset.file) else {
            bail!(SourceError::BadData(format!(
                "{} is gone, of which row {} is the next: put it back, or start anew with another --out",
                offset.file, offset.row
            )));
        };
        if matches!(file.format, FileFormat::Text(_)) && file.bytes < offset.position {
            bail!(shrunk(file, offset.position));
        }
        self.passed = self.files.iter().filter(|f| f.name < offset.file).map(|f| (f.name.clone(), f.bytes)).collect();
        Ok(())
    }

    /// The next rows, all of one file; `None` where nothing more is there now.
    pub(crate) fn next(&mut self, rows_max: usize, hungry: &dyn Fn() -> bool) -> Result<Option<Block>> {
        loop {
            let Some((name, file)) = &mut self.current else {
                if self.open()? {
                    continue;
                }
                return Ok(None);
            };
            if let Some(block) = file.next(rows_max, !self.follow, hungry)? {
                return Ok(Some(block));
            }
            if self.follow {
                self.files = self.input.files(self.shape.format)?;
                check(&self.files, &self.passed, name, file.position())?;
                if !self.files.iter().any(|f| f.name > *name) {
                    return Ok(None);
                }
                // A later file says that this one is whole now.
                if let Some(block) = file.next(rows_max, true, hungry)? {
                    return Ok(Some(block));
                }
            }
            self.passed.insert(name.clone(), file.position());
            self.current = None;
        }
    }

    /// Opens the first file that is not done with, if there is one.
    fn open(&mut self) -> Result<bool> {
        if let Some(pipe) = self.pipe.take() {
            self.current = Some(("-".to_owned(), Open::Text(self.open_pipe(pipe)?)));
            return Ok(true);
        }
        if self.follow {
            self.files = self.input.files(self.shape.format)?;
        }
        let Some(file) = self.files.iter().find(|f| !self.passed.contains_key(&f.name)) else { return Ok(false) };
        let start = if file.name == self.start.file { std::mem::take(&mut self.start) } else { Offset::default() };
        let open = match file.format {
            FileFormat::Text(format) => {
                let decoder = Decoder::new(format, &self.shape.schema, &self.shape.time)?;
                Open::Text(TextFile::open(file, format, decoder, &start)?)
            }
            FileFormat::Parquet => {
                Open::Parquet(ParquetFile::open(file, &self.shape.schema, &self.shape.time, start.row)?)
            }
        };
        self.current = Some((file.name.clone(), open));
        Ok(true)
    }

    fn open_pipe(&mut self, pipe: Box<dyn Read + Send>) -> Result<TextFile> {
        let format = match self.shape.format {
            None => TextFormat::Json,
            Some(FileFormat::Text(format)) => format,
            Some(FileFormat::Parquet) => {
                bail!(SourceError::Usage("Parquet cannot be read from standard input: give a file".to_owned()))
            }
        };
        let decoder = Decoder::new(format, &self.shape.schema, &self.shape.time)?;
        TextFile::pipe(pipe, format, decoder, &std::mem::take(&mut self.start))
    }
}

impl Open {
    fn next(&mut self, rows_max: usize, last: bool, hungry: &dyn Fn() -> bool) -> Result<Option<Block>> {
        match self {
            Self::Text(file) => file.next(rows_max, last, hungry),
            Self::Parquet(file) => file.next(rows_max),
        }
    }

    /// The bytes read so far.
    fn position(&self) -> u64 {
        match self {
            Self::Text(file) => file.position(),
            Self::Parquet(file) => file.bytes(),
        }
    }
}

/// An offset is one place in the order of names. What comes to stand before it would never be read, so it is refused.
fn check(files: &[InputFile], passed: &BTreeMap<String, u64>, name: &str, position: u64) -> Result<()> {
    for file in files.iter().filter(|f| f.name.as_str() <= name) {
        match passed.get(&file.name) {
            None if file.name == name && file.bytes >= position => {}
            None if file.name == name => bail!(shrunk(file, position)),
            None => bail!(SourceError::BadData(format!(
                "{} appeared when {name} was being read already: give it a name that sorts behind",
                file.path.display()
            ))),
            Some(bytes) if *bytes != file.bytes => bail!(SourceError::BadData(format!(
                "{} has {} bytes, and had {bytes} when it was read: append to the file with the last name only",
                file.path.display(),
                file.bytes
            ))),
            Some(_) => {}
        }
    }
    Ok(())
}

fn shrunk(file: &InputFile, position: u64) -> SourceError {
    let (path, bytes) = (file.path.display(), file.bytes);
    SourceError::BadData(format!("{path} has {bytes} bytes, but was read up to byte {position}: put it back as it was"))
}
