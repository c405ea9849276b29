//! Logs without an end: what is kept of them is cut, and they are worth no session.

use std::fs;
use std::path::Path;

use moji_proto::limits::UPLOAD_WINDOW_BYTES;
use moji_proto::message::{FromBuilder, ToBuilder, Verdict, Which};
use moji_proto::{Bytes, LeaseId};
use moji_tests::SOON;
use moji_tests::faults::Tally;

use crate::rogue::{Rogue, Upload};
use crate::scene::{Lines, Scene};

/// What is kept of a log, bytes: DESIGN's.
const KEPT: u64 = 64 << 20;
/// A piece, bytes.
const PIECE: usize = 32_000;
/// Pieces that are more than is kept.
const PIECES: usize = 2_200;

/// The cases.
pub(crate) fn endless(scene: &mut Scene, tally: &mut Tally) {
    scene.bait();
    scene.case(tally, "a live log of 70 MB, then the same as a file", Lines::None, |scene, key| {
        let mut rogue = Rogue::ready(&scene.farm, key);
        let lease = rogue.job();
        let piece = "a line of an endless log\n".repeat(PIECE / 25).into_bytes();
        for number in 0..PIECES {
            let (offset, bytes) = ((number * piece.len()) as u64, Bytes(piece.clone()));
            rogue.send(&FromBuilder::Log { lease, which: Which::Build, offset, bytes });
        }
        let stage = scene.farm.working().join(format!(".stage-{lease}/.live"));
        let most = KEPT - KEPT % piece.len() as u64;
        scene.farm.wait_until("the live log to be kept", SOON, |_| bytes_in(&stage) >= most);
        if !rogue.is_alive() || bytes_in(&stage) > KEPT {
            return Err(format!("{} bytes are kept of the live log", bytes_in(&stage)));
        }
        let said = stream(&mut rogue, lease, piece.repeat(PIECES));
        if said != (ToBuilder::Accepted { lease, verdict: Verdict::Failed }) {
            return Err(format!("{said:?}"));
        }
        let folders = scene.farm.results("prey-1-1");
        let of_lease = |folder: &&String| scene.farm.result_json(folder)["lease"] == lease.to_string();
        let Some(folder) = folders.iter().find(of_lease) else {
            return Err(format!("no result is of this lease: {folders:?}"));
        };
        let files = scene.farm.files_of(folder);
        let Ok(log) = fs::read(scene.farm.repo().join(folder).join("build.log")) else {
            return Err(format!("the log is not kept: {files:?}"));
        };
        let mark = b"bytes were cut here]";
        let is_cut = log.windows(mark.len()).skip(KEPT as usize / 2 - 100).take(400).any(|w| w == mark);
        if is_cut && log.len() as u64 <= KEPT + 200 {
            return Ok(());
        }
        Err(format!("{} bytes are kept of the log, cut: {is_cut}", log.len()))
    });
}

fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Uploads one log as the window allows; the hub's answer.
fn stream(rogue: &mut Rogue, lease: LeaseId, bytes: Vec<u8>) -> ToBuilder {
    let file = Upload::new("build.log", bytes);
    rogue.announce(lease, std::slice::from_ref(&file));
    rogue.until("the file to be wanted", Rogue::wants);
    rogue.clear();
    let (mut sent, mut acked) = (0, 0);
    while sent < file.bytes.len() {
        let end = file.bytes.len().min(sent + PIECE);
        if end as u64 > acked + UPLOAD_WINDOW_BYTES {
            rogue.until("an Ack", |rogue| rogue.acked() > acked);
            acked = rogue.acked();
            rogue.clear();
            continue;
        }
        let bytes = Bytes(file.bytes[sent..end].to_vec());
        rogue.send(&FromBuilder::Data { lease, file: 0, offset: sent as u64, bytes });
        sent = end;
    }
    rogue.serve(lease, &[])
}
