//! Which line begins where in a log.
//!
//! Owns the counting: a log is read from its beginning once, and from where that ended when it has grown; every 64 KiB a
//! mark is kept. So the number of a line is the same from whatever offset a log is looked at.

use std::sync::{Arc, Mutex, PoisonError};

use moji_proto::message::ToOperator;

use crate::web::desk::Ask;
use crate::web::model::Which;
use crate::web::problem::Problem;
use crate::web::site::{Site, next};

/// A log beyond this is shown no further, bytes: the hub takes no more of a live one either.
pub(super) const COUNTED_MAX: u64 = 64 << 20;
/// A mark is kept about every so many bytes.
const MARK_BYTES: u64 = 64 << 10;
/// Logs that are remembered: at most 16 KiB each.
const LOGS_MAX: usize = 64;
/// Beyond every log: whoever reads there learns which log it is, and nothing else.
const FAR: u64 = 1 << 50;

/// Which log. What is kept of a build that ended may differ from what was heard while it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) srpm: String,
    pub(super) which: Which,
    /// From 1.
    pub(super) attempt: u16,
    pub(super) is_live: bool,
}

/// Where lines begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// So far it was read.
    pub(super) end: u64,
    /// Line ends up to there.
    pub(super) lines: u64,
    /// Offsets, and line ends before them.
    marks: Vec<(u64, u64)>,
}

impl Index {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(MARK_BYTES as usize) {
            if self.marks.last().map_or(self.end > 0, |(at, _)| self.end - at >= MARK_BYTES) {
                self.marks.push((self.end, self.lines));
            }
            self.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.end += piece.len() as u64;
        }
    }

    /// The last mark at or before an offset.
    pub(super) fn before_offset(&self, offset: u64) -> (u64, u64) {
        let after = self.marks.partition_point(|(at, _)| *at <= offset);
        after.checked_sub(1).map_or((0, 0), |at| self.marks[at])
    }

    /// The last mark before line `number`, counted from 1, begins.
    pub(super) fn before_line(&self, number: u64) -> (u64, u64) {
        let after = self.marks.partition_point(|(_, lines)| *lines + 1 < number);
        after.checked_sub(1).map_or((0, 0), |at| self.marks[at])
    }
}

/// The logs that were looked at last.
#[derive(Default)]
pub(in super::super) struct Logs(Mutex<Vec<(Of, Counted)>>);

/// Held while it is counted: who comes meanwhile waits.
type Counted = Arc<tokio::sync::Mutex<Index>>;

impl Logs {
    /// Which log a name means.
    pub(super) async fn find(site: &Site, name: &str, which: Which, attempt: u16) -> Result<Of, Problem> {
        let (of, _) = read(site, name, which, attempt, FAR, 0).await?;
        of.ok_or_else(|| Problem::not_found(format!("{name} has no log")))
    }

    /// Where its lines begin, as it is now.
    pub(super) async fn index(&self, site: &Site, of: &Of) -> Result<Index, Problem> {
        let counted = self.counted(of);
        let mut index = counted.lock().await;
        let ask = Ask::Log {
            package: of.srpm.clone(),
            which: of.which.into(),
            attempt: of.attempt,
            offset: index.end,
            follow: false,
        };
        if index.end < COUNTED_MAX {
            let mut rows = site.desk().ask(ask).await?;
            while let Some(row) = next(&mut rows).await? {
                if let ToOperator::Log { bytes, .. } = row {
                    index.push(&bytes.0);
                }
                if index.end >= COUNTED_MAX {
                    break;
                }
            }
        }
        Ok(index.clone())
    }

    fn counted(&self, of: &Of) -> Counted {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|(one, _)| one == of).map(|at| all.remove(at));
        if all.len() >= LOGS_MAX {
            all.remove(0);
        }
        let newest = known.unwrap_or_else(|| (of.clone(), Counted::default()));
        let counted = Arc::clone(&newest.1);
        all.push(newest);
        counted
    }
}

/// At most `length` bytes of a log from `offset` on, and which log that is.
pub(super) async fn read(
    site: &Site,
    name: &str,
    which: Which,
    attempt: u16,
    offset: u64,
    length: usize,
) -> Result<(Option<Of>, Vec<u8>), Problem> {
    let ask = Ask::Log { package: name.to_owned(), which: which.into(), attempt, offset, follow: false };
    let mut rows = site.desk().ask(ask).await?;
    let (mut of, mut text) = (None, Vec::new());
    while let Some(row) = next(&mut rows).await? {
        match row {
            ToOperator::LogOf { srpm, attempt, live, .. } => {
                of = Some(Of { srpm: srpm.to_string(), which, attempt, is_live: live });
            }
            ToOperator::Log { bytes, .. } => text.extend_from_slice(&bytes.0),
            _ => {}
        }
        if of.is_some() && text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    Ok((of, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_lead_to_any_line_however_the_log_grew() {
        let line = b"0123456789abcdef0123456789abcde\n";
        let log: Vec<u8> = line.iter().copied().cycle().take(32 * 10_000).collect();
        for size in [1_000, 32_768, 100_000, log.len()] {
            let mut index = Index::default();
            log.chunks(size).for_each(|part| index.push(part));
            assert_eq!((index.end, index.lines), (320_000, 10_000), "by {size}");
            for offset in [0, 5, 65_536, 200_000, 320_000] {
                let (at, lines) = index.before_offset(offset);
                assert!(at <= offset && offset - at < 3 * MARK_BYTES, "{offset}: {at}");
                assert_eq!(lines, at / 32, "{offset}");
            }
            for number in [1, 2, 2_049, 10_000] {
                let (at, lines) = index.before_line(number);
                assert!(lines < number && (number - lines) * 32 < 3 * MARK_BYTES, "{number}: {lines}");
                assert!(at <= (number - 1) * 32);
            }
        }
    }
}
