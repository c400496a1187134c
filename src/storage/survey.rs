//! What the files of a store are, and what a start would do with them: the part of `agq check` that needs no walk.

use std::sync::Arc;

use crate::clock::Millis;
use crate::storage::files::Disk;
use crate::storage::log_segment::{NAMES, read_header, read_records};
use crate::storage::meta::{FORMAT, StoreMeta};
use crate::storage::recover::{Records, belongs, open_segment, read_log};
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::store_file::{DATA, Store, open_store};
use crate::storage::write_behind::Applier;
use crate::storage::{Error, Options, Result};

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The format of the file.
    pub format: u32,
    /// Drawn when the store was made.
    pub store_id: u128,
    /// How often it has been opened.
    pub generation: u64,
    /// Bytes of `data.redb`.
    pub bytes: u64,
    /// The last record of the log that `data.redb` has.
    pub seq: u64,
    /// The time of that record.
    pub time: Millis,
    /// False when it was closed: `data.redb` is then the whole store.
    pub needs_log: bool,
    /// True when redb had to walk the whole file to open it.
    pub repaired: bool,
    /// Both segments of the log, as far as the store needs them.
    pub segments: Vec<Segment>,
    /// Records of the log that a start puts into `data.redb`.
    pub replayed: u64,
    /// Records behind a gap, which a start drops: nobody was promised them.
    pub cut: Vec<u64>,
    /// Why a start is refused, if it is.
    pub refusal: Option<Error>,
}

/// A segment of the log.
#[derive(Debug)]
pub struct Segment {
    /// Its file.
    pub name: &'static str,
    /// Its length; `None` when it is not there.
    pub bytes: Option<u64>,
    /// What is in it.
    pub content: Content,
}

/// What is in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing that counts.
    Nothing,
    /// Records of the last run: how many, the first and the last.
    Records(Option<(usize, u64, u64)>),
    /// What cannot be used, and why.
    Wrong(String),
}

/// Looks at the store on `disk`, which is written to where an opening would: hand in a shadow.
///
/// # Errors
/// When `data.redb` is missing, is no store, or cannot be read.
pub fn survey(disk: &Arc<dyn Disk>, options: &Options) -> Result<Survey> {
    let disk = &**disk;
    let io = |source| Error::io(format!("opening {}", disk.describe(DATA)), source);
    let Some(file) = disk.open(DATA).map_err(io)? else {
        return Err(Error::Refused {
            found: format!("no {}", disk.describe(DATA)),
            expected: "a store".to_owned(),
            help: "Choose another folder or file.".to_owned(),
        });
    };
    let bytes = file.len().map_err(io)?;
    let signals = Arc::new(Signals::default());
    let Store { database, meta, repaired, .. } = open_store(disk, options, Applier::Caller, &signals)?;
    // Dropped before the database is: nothing more is written.
    let guard = StopOnDrop::new(&signals);
    let mut survey = Survey {
        format: FORMAT,
        store_id: meta.store_id,
        generation: meta.generation,
        bytes,
        seq: meta.seq,
        time: meta.time,
        needs_log: meta.log_required,
        repaired,
        segments: Vec::new(),
        replayed: 0,
        cut: Vec::new(),
        refusal: None,
    };
    if meta.log_required {
        let mut records = Records::default();
        for name in NAMES {
            survey.segments.push(segment(disk, &meta, name, &mut records)?);
        }
        match read_log(disk, &meta) {
            Ok((replay, _)) => {
                survey.replayed = replay.seq - meta.seq;
                survey.cut = records.beyond(replay.seq);
            }
            Err(refusal @ Error::Refused { .. }) => survey.refusal = Some(refusal),
            Err(error) => return Err(error),
        }
    }
    drop((guard, database));
    Ok(survey)
}

fn segment(disk: &dyn Disk, meta: &StoreMeta, name: &'static str, records: &mut Records) -> Result<Segment> {
    let Some(file) = open_segment(disk, name)? else {
        return Ok(Segment { name, bytes: None, content: Content::Wrong("it is missing".to_owned()) });
    };
    let bytes = file.len().map_err(|source| Error::io(format!("opening {}", disk.describe(name)), source))?;
    let read = || -> Result<Content> {
        let Some(header) = read_header(&*file, name)? else { return Ok(Content::Nothing) };
        if !belongs(&header, meta, name)? {
            return Ok(Content::Nothing);
        }
        let found = read_records(&*file, name, &header)?;
        let numbers = found.1.iter().map(|found| found.head.seq);
        let range = numbers.clone().min().zip(numbers.clone().max());
        let told = range.map(|(first, last)| (numbers.count(), first, last));
        records.add(found);
        Ok(Content::Records(told))
    };
    let mut read = read;
    let content = match read() {
        Ok(content) => content,
        Err(Error::Refused { found, .. }) => Content::Wrong(found),
        Err(error) => return Err(error),
    };
    Ok(Segment { name, bytes: Some(bytes), content })
}
