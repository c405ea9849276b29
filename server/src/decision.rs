//! `decision.json`: what an operator decided about a result, beside its `result.json`.
//!
//! Owns the file's format, and how it is written: anew under another name, synced, renamed, the folder synced.
//! `result.json` itself never changes. Fields are only ever added.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::core::view::Decision;
use crate::disk::Disk;

/// The file's name.
pub const FILE_NAME: &str = "decision.json";
/// Its name while it is being written.
const NEW_NAME: &str = ".decision.json.new";
/// Longest file that is read, bytes: a word, a number, and who.
const BYTES_MAX: u64 = 64 * 1024;

/// A decision, who made it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// Which operator: `user@host (address)`.
    pub who: String,
    /// When, unix seconds.
    pub unix_s: u64,
    /// Of a retracted result: whether its RPMs are to be deleted, which comes later and so may be left to a later hub.
    pub delete: bool,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct DecisionJson {
    decision: String,
    who: String,
    unix_s: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    delete: bool,
}

/// The word for it in the file and for people.
#[must_use]
pub fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Refused => "refused",
        Decision::Retracted => "retracted",
    }
}

/// Reads the decision in a result's folder; None if there is none.
///
/// # Errors
/// `InvalidData` if the file is not what it should be; else those of the disk.
pub fn read(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Decided>> {
    let file = match disk.open(&folder.join(FILE_NAME)) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let invalid = |text: String| io::Error::new(ErrorKind::InvalidData, text);
    let len = file.len()?;
    if len > BYTES_MAX {
        return Err(invalid("it is too large".to_owned()));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| ErrorKind::InvalidData)?];
    let n = file.read_at(&mut bytes, 0)?;
    let json: DecisionJson =
        serde_json::from_slice(&bytes[..n]).map_err(|error| invalid(error.to_string()))?;
    let all = [Decision::Accepted, Decision::Refused, Decision::Retracted];
    let decision = all.into_iter().find(|decision| word(*decision) == json.decision);
    let decision = decision.ok_or_else(|| invalid(format!("no decision is {:?}", json.decision)))?;
    Ok(Some(Decided { decision, who: json.who, unix_s: json.unix_s, delete: json.delete }))
}

/// Writes it into a result's folder, replacing an earlier one; on return it survives a power cut.
///
/// # Errors
/// Those of the disk. After one of the last sync it may be there or not, so ask [`read`].
pub fn write(disk: &dyn Disk, folder: &Path, decided: &Decided) -> io::Result<()> {
    let Decided { decision, who, unix_s, delete } = decided;
    let decision = word(*decision).to_owned();
    let json = DecisionJson { decision, who: who.clone(), unix_s: *unix_s, delete: *delete };
    let mut text = serde_json::to_vec_pretty(&json).expect("text and numbers always encode");
    text.push(b'\n');
    let new = folder.join(NEW_NAME);
    match disk.remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&new)?;
    file.write_at(&text, 0)?;
    file.sync()?;
    disk.rename(&new, &folder.join(FILE_NAME))?;
    disk.sync_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::Memory;

    #[test]
    fn a_decision_is_read_back_and_the_last_one_counts() {
        let (disk, folders) = Memory::with_folders();
        let folder = folders.repo.join("a-1-1");
        disk.create_dir(&folder).unwrap();
        assert_eq!(read(&disk, &folder).unwrap(), None);
        for decision in [Decision::Refused, Decision::Accepted, Decision::Retracted] {
            let delete = decision == Decision::Retracted;
            let decided =
                Decided { decision, who: "ann@desk (10.0.0.7)".to_owned(), unix_s: 1_764_000_000, delete };
            // What a crash left half written is in nobody's way.
            disk.put(folder.join(NEW_NAME), b"{");
            write(&disk, &folder, &decided).unwrap();
            assert_eq!(read(&disk, &folder).unwrap(), Some(decided));
        }
        let names: Vec<_> = disk.list(&folder).unwrap();
        assert_eq!(names, [Path::new(FILE_NAME)]);
    }

    #[test]
    fn what_is_no_decision_is_said_to_be_invalid() {
        let (disk, folders) = Memory::with_folders();
        let folder = folders.repo.join("a-1-1");
        disk.create_dir(&folder).unwrap();
        for text in ["", "{}", r#"{"decision":"maybe","who":"x","unix_s":1}"#] {
            disk.put(folder.join(FILE_NAME), text.as_bytes());
            assert_eq!(read(&disk, &folder).unwrap_err().kind(), ErrorKind::InvalidData, "{text}");
        }
    }
}
