//! From file to file through an input: every one that has rows which were not read, in reading order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::decode::text_format::TextFormat;
use crate::fault::SourceError;
use crate::files::block::Block;
use crate::files::input::{FileFormat, Input, InputFile, Moved, Stat, is_packed_away};
use crate::files::known::Known;
use crate::files::known::contents::read_to;
use crate::files::known::kinship::{Compared, Kinship, compared};
use crate::files::known::mark::{Changes, FileMark};
use crate::files::listing::Listing;
use crate::files::reading::{Next, Opened, Reading, Shape, half};
use crate::files::text_file::TextFile;
use crate::source::Offset;

/// A directory of more files than this is looked through again no sooner than `REST` times as long as that took.
const MANY: usize = 1000;
const REST: u32 = 20;

/// What is not as it was is looked at so often again, after a moment, before it is an error.
const ROTATION_TRIES: usize = 10;
const ROTATION: Duration = Duration::from_millis(10);

/// Half a row is named once it has waited so long for its end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Walk {
    listing: Listing,
    /// What a pipe gives, until it is opened, and where to begin in it.
    pipe: Option<(Box<dyn Read + Send>, Offset)>,
    text: Option<TextFile>,
    shape: Shape,
    follow: bool,
    known: Known,
    /// What was there when last looked, and has rows that were not read.
    unread: VecDeque<InputFile>,
    reading: Option<Box<Reading>>,
    /// Files that had nothing to give when they looked like this: half written, or copies.
    passed: HashMap<String, Stat>,
    /// Files that wait for another to be read, of which rotation may have made them.
    waiting: HashSet<String>,
    /// Files that end in half a row, which row, and since when; none of that once it was said.
    halves: HashMap<String, (u64, Option<Instant>)>,
    /// Not yet given out.
    steps: VecDeque<Step>,
    /// How many files are passed over, as was given out.
    skipped: u64,
    /// When many files were looked for, and for how long.
    looked: Option<(Instant, Duration)>,
    /// The names of the files that a run that does not follow is to read: files that came after its beginning are another run's.
    bounds: Option<HashSet<String>>,
}

/// What comes next.
pub(crate) enum Step {
    /// Rows of one file.
    Rows(Block),
    /// What became of files meanwhile.
    Marks(Changes),
    /// How many files are passed over.
    Skipped(u64),
    /// What the user should know.
    Warning(String),
}

impl Walk {
    /// # Errors
    /// The input does not exist, or without `follow` holds no file.
    pub(crate) fn new(path: &str, shape: Shape, follow: bool) -> Result<Self> {
        let listing = Listing::new(Input::new(path)?, shape.format)?;
        let files = listing.files();
        if files.is_empty() && !follow {
            bail!(SourceError::Missing(format!("{path} holds no file")));
        }
        let names = || files.iter().filter(|file| !file.rotated).map(|file| file.name.clone()).collect();
        let bounds = (!follow).then(names);
        Ok(Self { bounds, ..Self::over(listing, shape, follow) })
    }

    pub(crate) fn pipe(pipe: Box<dyn Read + Send>, shape: Shape) -> Self {
        Self { pipe: Some((pipe, Offset::default())), ..Self::over(Listing::pipe(), shape, false) }
    }

    fn over(listing: Listing, shape: Shape, follow: bool) -> Self {
        Self {
            listing,
            pipe: None,
            text: None,
            shape,
            follow,
            known: Known::default(),
            unread: VecDeque::new(),
            reading: None,
            passed: HashMap::new(),
            waiting: HashSet::new(),
            halves: HashMap::new(),
            steps: VecDeque::new(),
            skipped: 0,
            looked: None,
            bounds: None,
        }
    }

    /// Goes on where an earlier run left off, and answers the marks of all files there.
    ///
    /// # Errors
    /// A file that was read is not what it was.
    pub(crate) fn seek(&mut self, offset: &Offset) -> Result<BTreeMap<String, FileMark>> {
        if let Some((_, start)) = &mut self.pipe {
            *start = offset.clone();
            return Ok(BTreeMap::new());
        }
        if !offset.files.is_empty() {
            self.known = Known::new(offset.files.clone());
        } else if !offset.file.is_empty() {
            self.known = Known::from_place(self.listing.files(), offset)?;
        }
        self.look()?;
        self.steps.retain(|step| !matches!(step, Step::Marks(_)));
        Ok(self.known.marks().clone())
    }

    /// Leaves out files that an offset of all files does not name.
    pub(crate) fn keep_to(&mut self, offset: &Offset) {
        if let Some(names) = self.bounds.as_mut().filter(|_| !offset.files.is_empty()) {
            names.retain(|name| offset.files.contains_key(name));
        }
    }

    /// The name of the file that is being read.
    pub(crate) fn reading(&self) -> &str {
        self.reading.as_ref().map_or("a file of the input", |reading| reading.name())
    }

    /// The next rows, all of one file, or what else there is to say; `None` where nothing more is there now.
    pub(crate) fn next(&mut self, rows_max: usize, hungry: &dyn Fn() -> bool) -> Result<Option<Step>> {
        if self.listing.is_pipe() {
            return Ok(self.text()?.next(rows_max, true, hungry)?.map(Step::Rows));
        }
        self.waiting.clear();
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Ok(Some(step));
            }
            if self.reading.is_some() {
                self.read(rows_max, hungry)?;
            } else if let Some(file) = self.unread.pop_front() {
                match self.open(file) {
                    Err(e) if e.is::<Moved>() => self.look()?,
                    opened => opened?,
                }
            } else if !self.look_again()? {
                return Ok(None);
            }
        }
    }

    /// Looks what is there, where it is time for that. Whether there is more to do.
    fn look_again(&mut self) -> Result<bool> {
        if self.follow
            && let Some((at, took)) = self.looked
            && at.elapsed() < took * REST
        {
            return Ok(false);
        }
        self.look()?;
        Ok(!self.unread.is_empty() || !self.steps.is_empty())
    }

    fn look(&mut self) -> Result<()> {
        let begun = Instant::now();
        let (mut tries, mut sure) = (0, false);
        let changes = loop {
            self.listing.again()?;
            match self.known.meet(self.listing.files()) {
                // What was read of a file may be on its way to another place.
                Err(_) if tries < ROTATION_TRIES => {
                    std::thread::sleep(ROTATION);
                    tries += 1;
                }
                // A new file may have the name and the inode of one that was compressed and renamed, so that two listings agree
                // in which it is under neither name: it is gone only where the next one misses it too.
                Ok(changes) if !sure && are_fewer(&changes) => sure = true,
                changes => break changes?,
            }
        };
        if !changes.is_empty() {
            self.note(changes);
        }
        let files = self.listing.files();
        self.looked = (files.len() > MANY).then(|| (Instant::now(), begun.elapsed()));
        self.unread = files.iter().filter(|file| self.is_unread(file)).cloned().collect();
        self.say_halves();
        if self.skipped != self.listing.skipped() {
            self.skipped = self.listing.skipped();
            self.steps.push_back(Step::Skipped(self.skipped));
        }
        Ok(())
    }

    fn note(&mut self, changes: Changes) {
        for (name, _) in &changes {
            self.passed.remove(name);
        }
        self.known.apply(&changes);
        self.steps.push_back(Step::Marks(changes));
    }

    fn is_unread(&self, file: &InputFile) -> bool {
        if self.passed.get(&file.name) == Some(&file.stat) || self.waiting.contains(&file.name) {
            return false;
        }
        let mark = self.known.mark(&file.name);
        let ours = self.bounds.as_ref().is_none_or(|bounds| bounds.contains(&file.name));
        match mark {
            Some(mark) => mark.rest || ours && mark.stat != file.stat,
            None => ours && !file.rotated && (file.stat.bytes > 0 || !file.is_text() || file.packed),
        }
    }

    /// Opens a file that has something to read.
    fn open(&mut self, file: InputFile) -> Result<()> {
        let begun = self.known.mark(&file.name).filter(|mark| mark.row > 0 && !mark.copy).cloned();
        let Some(mark) = begun.map_or_else(|| self.begin(&file), |mark| Ok(Some(mark)))? else { return Ok(()) };
        let known = &self.known;
        let compared = |open: &File, now: Stat| known.is_as_compared(&file, open, &mark, now);
        let opened = match Reading::open(&file, &self.shape, &mark, compared) {
            Err(e) if e.is::<Moved>() => Opened::Moved,
            opened => opened?,
        };
        match opened {
            Opened::Reading(reading) => {
                if known.mark(&file.name) != Some(&mark) {
                    self.note(vec![(file.name.clone(), Some(mark))]);
                }
                self.reading = Some(reading);
            }
            Opened::Moved if self.vanished(&file)? => bail!(SourceError::BadData(format!(
                "{} is gone, and was not read to its end: take files away only after that; run again to go on without it",
                file.path.display()
            ))),
            Opened::Moved => self.look()?,
            Opened::Half => self.wait_for(&file)?,
        }
        Ok(())
    }

    /// Where to begin in a file of which nothing was read; none where its rows are those of another, for now or for good.
    fn begin(&mut self, file: &InputFile) -> Result<Option<FileMark>> {
        let before = self.known.mark(&file.name).cloned();
        let partition = before.as_ref().map_or_else(|| self.known.before(&file.name), |mark| mark.partition);
        match self.kinship(file)? {
            Kinship::None => {
                let beginning = || FileMark::beginning(&file.name, partition, file.stat);
                return Ok(Some(before.map_or_else(beginning, |mark| FileMark { copy: false, ..mark })));
            }
            Kinship::Copy => {
                let mark = FileMark { copy: true, partition, ..read_to(file, None)? };
                if mark.row == 0 {
                    self.passed.insert(file.name.clone(), file.stat);
                    return Ok(None);
                }
                if before.is_none_or(|mark| !mark.copy) {
                    self.pass(file, "holds what was read of another file, so it is not read");
                }
                self.note(vec![(file.name.clone(), Some(mark))]);
            }
            Kinship::Later => _ = self.waiting.insert(file.name.clone()),
            Kinship::Unclear => {
                self.waiting.insert(file.name.clone());
                self.look()?;
            }
        }
        Ok(None)
    }

    /// What a file is to the others, if those that it was compared with still have the names that they were listed by.
    fn kinship(&self, file: &InputFile) -> Result<Kinship> {
        let Compared { kinship, names } = match compared(file, &self.known) {
            Err(e) if e.is::<Moved>() => return Ok(Kinship::Unclear),
            compared => compared?,
        };
        let stands = |name: &&str| self.listing.is_true_of(name, &file.beside(name));
        Ok(if names.iter().all(stands) { kinship } else { Kinship::Unclear })
    }

    /// Whether a file that was found is nowhere any more.
    fn vanished(&mut self, file: &InputFile) -> Result<bool> {
        self.listing.again()?;
        let files = self.listing.files();
        let is_known = |name: &str| self.known.mark(name).is_some();
        let there = |other: &InputFile| other.name == file.name || other.stat.is_same_file(&file.stat);
        Ok(!files.iter().any(there) && !is_packed_away(&file.name, files, is_known))
    }

    /// Leaves a file that is not whole yet for later.
    fn wait_for(&mut self, file: &InputFile) -> Result<()> {
        if !self.follow {
            bail!(half(file));
        }
        self.pass(file, "is not whole yet: it is read once it is");
        Ok(())
    }

    /// Does not look at a file again until it looks otherwise, and says why the first time.
    fn pass(&mut self, file: &InputFile, why: &str) {
        if self.passed.insert(file.name.clone(), file.stat).is_none() {
            self.steps.push_back(Step::Warning(format!("{} {why}", file.path.display())));
        }
    }

    fn read(&mut self, rows_max: usize, hungry: &dyn Fn() -> bool) -> Result<()> {
        let Some(reading) = &mut self.reading else { return Ok(()) };
        let name = reading.name().to_owned();
        let next = reading.next(rows_max, self.follow, hungry);
        let tail = reading.tail();
        match next {
            Ok(Next::Rows(block)) => {
                if let Some(mark) = self.known.mark(&name).cloned() {
                    let mut mark = mark;
                    block.pass(&mut mark);
                    self.known.apply(&vec![(name.clone(), Some(mark))]);
                }
                self.steps.push_back(Step::Rows(block));
            }
            Ok(Next::End { mark, half }) => {
                self.reading = None;
                self.end(name.clone(), mark, half);
            }
            Ok(Next::Changed) => {
                let file = reading.file().clone();
                self.reading = None;
                if !file.is_plain_text() {
                    return self.wait_for(&file);
                }
                self.known.forget_tail(&name);
                return self.look();
            }
            Err(e) if reading.file().packed && is_cut(&e) => {
                let file = reading.file().clone();
                self.reading = None;
                return self.wait_for(&file);
            }
            Err(e) => return Err(e),
        }
        if let Some(tail) = tail {
            self.known.set_tail(&name, tail);
        }
        Ok(())
    }

    fn end(&mut self, name: String, mark: FileMark, half: bool) {
        let (row, stat) = (mark.row, mark.stat);
        self.note(vec![(name.clone(), Some(mark))]);
        if let Some(bounds) = &mut self.bounds {
            bounds.remove(&name);
        }
        if !half {
            self.halves.remove(&name);
            return;
        }
        self.passed.insert(name.clone(), stat);
        let known = self.halves.entry(name).or_insert((row, Some(Instant::now())));
        if known.0 != row {
            *known = (row, Some(Instant::now()));
        }
    }

    fn say_halves(&mut self) {
        for (name, (row, since)) in &mut self.halves {
            if since.is_some_and(|since| since.elapsed() > PATIENCE) {
                *since = None;
                let what = format!("{name}: row {row} has no line end yet: it is read once it has");
                self.steps.push_back(Step::Warning(what));
            }
        }
    }

    fn text(&mut self) -> Result<&mut TextFile> {
        if let Some((pipe, start)) = self.pipe.take() {
            let format = match self.shape.format {
                None => TextFormat::Json,
                Some(FileFormat::Text(format)) => format,
                Some(FileFormat::Parquet) => {
                    bail!(SourceError::Usage("Parquet cannot be read from standard input: give a file".to_owned()))
                }
            };
            let decoder = self.shape.decoder(format)?;
            self.text = Some(TextFile::pipe(pipe, format, decoder, &start)?);
        }
        match &mut self.text {
            Some(text) => Ok(text),
            None => bail!("standard input could not be read"),
        }
    }
}

/// Whether there are fewer files after changes than before: a file that is found again is one away and one there.
fn are_fewer(changes: &Changes) -> bool {
    let found = changes.iter().filter(|(_, mark)| mark.as_ref().is_some_and(|mark| !mark.gone)).count();
    changes.len() > 2 * found
}

/// Whether an error is the end of a compressed file before its time.
fn is_cut(error: &anyhow::Error) -> bool {
    let is_end = |e: &io::Error| e.kind() == io::ErrorKind::UnexpectedEof;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_end))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::decode::time::Written;
    use crate::decode::unread::Unread;
    use crate::schema;

    /// What a file is to those beside it is known by looking at these, and not by listing all again.
    #[test]
    fn files_are_listed_as_often_however_many_there_are() {
        let listings = |files: usize| {
            let directory = tempfile::TempDir::new().unwrap();
            for number in 0..files {
                let file = File::create(directory.path().join(format!("part-{number}.jsonl.gz"))).unwrap();
                let mut file = GzEncoder::new(file, Compression::fast());
                writeln!(file, r#"{{"id":"{number}"}}"#).unwrap();
                file.finish().unwrap();
            }
            for number in 1..=files {
                let name = format!("app.jsonl.{number}");
                std::fs::write(directory.path().join(name), format!("{{\"id\":\"r{number}\"}}\n")).unwrap();
            }
            std::fs::write(directory.path().join("app.jsonl"), "{\"id\":\"r\"}\n").unwrap();
            let shape = Shape {
                schema: schema::parse("id text").unwrap(),
                time: String::new(),
                format: None,
                written: Written::default(),
                unread: Unread::default(),
            };
            let mut walk = Walk::new(directory.path().to_str().unwrap(), shape, false).unwrap();
            let mut read = 0;
            while let Some(step) = walk.next(1000, &|| false).unwrap() {
                read += usize::from(matches!(step, Step::Rows(_)));
            }
            assert_eq!(read, 2 * files + 1);
            walk.listing.times
        };
        assert_eq!(listings(2), listings(20));
    }
}
