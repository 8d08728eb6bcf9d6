//! Looking into a spool from outside, also while Gatepost runs: takes no lock and changes nothing.
//!
//! What a running committer adds or recycles during the look may show as damage at the very end or as a read error.

use std::path::Path;
use std::sync::Arc;

use super::damage::Damage;
use super::recovery::{OpenError, Survey, live_segment, read_tail, survey};
use super::segment::{Segment, Step, WIDE, Walk};
use super::shared::Shared;
use super::{Ordinal, Reader};
use crate::fs::{Access, Fs};

/// One segment, read whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SegmentReport {
    /// Its number.
    pub number: u64,
    /// The ordinal of its first item.
    pub first: Ordinal,
    /// Whole records.
    pub records: u64,
    /// Items of the whole records.
    pub items: u64,
    /// Bytes that are used, the header included.
    pub bytes: u64,
    /// Lost items, and why; and a damaged header.
    pub damage: Vec<(std::ops::Range<Ordinal>, String)>,
}

/// A spool directory, looked at once.
#[derive(Debug)]
pub struct Inspection {
    fs: Arc<dyn Fs>,
    survey: Survey,
    segments: Vec<Arc<Segment>>,
    end: Ordinal,
    lost: u64,
}

impl Inspection {
    /// Looks at the directory: the segments' headers, the last segment's records, and what is known to be lost.
    pub fn open(dir: &Path, fs: Arc<dyn Fs>) -> Result<Self, OpenError> {
        let survey = survey(&*fs, dir)?;
        let (lost, high) = Damage::look(Arc::clone(&fs), dir);
        let mut segments = Vec::new();
        let mut end = 0;
        for (index, found) in survey.live.iter().enumerate() {
            let mut extent = survey.extent(index);
            if !extent.sealed {
                (extent.end, extent.until) = match fs.open(&found.path, Access::Read) {
                    Ok(file) => {
                        let tail = read_tail(&file, found);
                        (tail.end, tail.until)
                    }
                    Err(_) => (0, found.header.first),
                };
                extent.until = extent.until.max(high);
                end = extent.until;
            }
            segments.push(Arc::new(live_segment(found, extent)));
        }
        Ok(Self { fs, survey, segments, end: end.max(high), lost })
    }

    /// Items that a gateway found to be lost since the spool began; also those whose segments have left.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The ordinal of the first item and the one behind the last.
    pub fn range(&self) -> std::ops::Range<Ordinal> {
        self.segments.first().map_or(self.end, |segment| segment.first)..self.end
    }

    /// Files that could not be made sense of, and why.
    pub fn unusable(&self) -> &[(std::path::PathBuf, String)] {
        &self.survey.unusable
    }

    /// Reads every segment whole, one after the other.
    pub fn segments(&self) -> impl Iterator<Item = std::io::Result<SegmentReport>> + '_ {
        self.segments.iter().zip(&self.survey.live).map(|(segment, found)| report(segment, found.whole, &*self.fs))
    }

    /// Reads records or heads from the first to the end.
    pub fn reader(&self, from: Ordinal) -> Reader {
        let shared = Shared::new(self.segments.clone(), self.end, 0, &self.fs);
        Reader::new(Arc::new(shared), Arc::clone(&self.fs), from)
    }
}

fn report(segment: &Segment, whole_header: bool, fs: &dyn Fs) -> std::io::Result<SegmentReport> {
    let extent = segment.extent();
    let mut walk = Walk::new(segment.file(fs)?, segment.epoch, segment.first, WIDE);
    let mut report = SegmentReport {
        number: segment.number,
        first: segment.first,
        records: 0,
        items: 0,
        bytes: extent.end,
        damage: Vec::new(),
    };
    if !whole_header {
        report.damage.push((segment.first..segment.first, "the segment header is damaged".to_owned()));
    }
    loop {
        match walk.step(extent.end, extent.until)? {
            Step::Head(header) => {
                if header.body_is_whole(walk.body(&header, extent.end)?) {
                    report.records += 1;
                    report.items += u64::from(header.items);
                } else {
                    report.damage.push((header.first..header.until(), "a record's checksum is wrong".to_owned()));
                }
                walk.pass(&header);
            }
            Step::Damage { first, until, reason } => report.damage.push((first..until, reason.to_owned())),
            Step::Lost => {
                report.damage.push((walk.expected..extent.until, "the rest of the segment is damaged".to_owned()));
                return Ok(report);
            }
            Step::End if walk.expected < extent.until => {
                report.damage.push((walk.expected..extent.until, "records are missing at its end".to_owned()));
                return Ok(report);
            }
            Step::End => return Ok(report),
        }
    }
}
