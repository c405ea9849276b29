//! The journal on a disk in memory: what is read back, whatever was cut, damaged or failed.

use moji_proto::PublicKey;

use super::*;
use crate::disk::memory::Memory;

fn grant(counter: u32, srpm: &str) -> Record {
    granted(counter, srpm, None)
}

fn granted(counter: u32, srpm: &str, beside: Option<u32>) -> Record {
    let id = |counter| LeaseId { incarnation: 7, counter };
    let (lease, builder) = (id(counter), PublicKey([counter as u8; 32]));
    Record::Grant { lease, srpm: FileName::new(srpm).unwrap(), builder, beside: beside.map(id) }
}

fn end(counter: u32, revivable: bool) -> Record {
    Record::End { lease: LeaseId { incarnation: 7, counter }, revivable }
}

fn written(records: &[Record]) -> (Memory, PathBuf, Vec<u8>) {
    let (disk, folders) = Memory::with_folders();
    let mut journal = Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, &[]).unwrap();
    journal.append(records).unwrap();
    journal.sync().unwrap();
    let bytes = disk.bytes(folders.working.join(FILE_NAME)).unwrap();
    (disk, folders.working, bytes)
}

#[test]
fn what_was_appended_is_read_back() {
    let second = granted(3, "a b.src.rpm", Some(1));
    let records = [grant(1, "a b.src.rpm"), grant(2, "b.src.rpm"), second, end(1, true), end(2, false)];
    let (disk, working, _) = written(&records);
    let want = Loaded { incarnation: 7, records: records.to_vec(), ..Loaded::default() };
    assert_eq!(load(&disk, &working).unwrap(), want);
}

#[test]
fn a_journal_cut_at_any_byte_gives_exactly_its_whole_records() {
    let records = [grant(1, "a.src.rpm"), end(1, true), grant(2, "b.src.rpm")];
    let (disk, working, bytes) = written(&records);
    for cut in 0..=bytes.len() {
        disk.put(working.join(FILE_NAME), &bytes[..cut]);
        let loaded = load(&disk, &working).unwrap();
        let lines = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(loaded.records, records[..lines.saturating_sub(1)], "cut at {cut}");
        assert_eq!(loaded.incarnation, if lines > 0 { 7 } else { 0 });
        assert!(loaded.damaged.is_empty());
        let whole = bytes[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        assert_eq!(loaded.torn_bytes, (cut - whole) as u64);
    }
}

#[test]
fn a_byte_changed_anywhere_costs_its_own_line_only() {
    let records = [grant(1, "a.src.rpm"), end(1, true), grant(2, "b.src.rpm")];
    let (disk, working, bytes) = written(&records);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        disk.put(working.join(FILE_NAME), &changed);
        let loaded = load(&disk, &working).unwrap();
        // A changed line end spoils two lines.
        let spoiled = if bytes[at] == b'\n' { 2 } else { 1 };
        let whole = loaded.records.len() + usize::from(loaded.incarnation == 7);
        assert!(whole >= 4 - spoiled && whole < 4, "byte {at}");
        assert!(loaded.records.iter().all(|record| records.contains(record)));
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        // Two lines without a line end between them are one.
        let damaged = if line + spoiled >= 4 { vec![] } else { vec![line + 1] };
        assert_eq!(loaded.damaged, damaged, "byte {at}");
        assert_eq!(loaded.torn_bytes > 0, line + spoiled >= 4, "byte {at}");
    }
}

#[test]
fn a_later_grant_of_a_package_ends_the_earlier_one() {
    let (live, ended) = fold(vec![
        grant(1, "a.src.rpm"),
        grant(2, "a.src.rpm"),
        grant(3, "b.src.rpm"),
        end(3, true),
        grant(3, "b.src.rpm"),
        grant(4, "c.src.rpm"),
        end(4, true),
        end(9, false),
    ]);
    assert_eq!(live.keys().map(|id| id.counter).collect::<Vec<_>>(), [2, 3]);
    let over: Vec<_> = ended.iter().map(|(id, ended)| (id.counter, ended.revivable)).collect();
    assert_eq!(over, [(1, false), (4, true)]);
}

#[test]
fn a_second_grant_lives_beside_the_one_it_names_and_alone_once_that_is_over() {
    let [a, b] = ["a.src.rpm", "b.src.rpm"];
    let (first, second) = (grant(1, a), granted(2, a, Some(1)));
    for (more, want, over) in [
        (vec![], &[(1, None), (2, Some(1))][..], &[][..]),
        (vec![end(1, false)], &[(2, None)], &[1]),
        (vec![end(2, true)], &[(1, None)], &[2]),
        // The end of one was lost; another took its place.
        (vec![granted(3, a, Some(1))], &[(1, None), (3, Some(1))], &[2]),
        (vec![granted(3, a, Some(2))], &[(2, None), (3, Some(2))], &[1]),
        (vec![grant(3, a)], &[(3, None)], &[1, 2]),
        (vec![grant(3, b)], &[(1, None), (2, Some(1)), (3, None)], &[]),
        (vec![end(1, true), end(2, true), grant(1, a)], &[(1, None)], &[2]),
        (vec![end(2, true), grant(3, a)], &[(3, None)], &[1, 2]),
    ] {
        let (live, ended) = fold([vec![first.clone(), second.clone()], more.clone()].concat());
        let live: Vec<_> =
            live.iter().map(|(id, grant)| (id.counter, grant.beside.map(|main| main.counter))).collect();
        let ended: Vec<u32> = ended.keys().map(|id| id.counter).collect();
        assert_eq!((&live[..], &ended[..]), (want, over), "{more:?}");
    }
}

#[test]
fn a_journal_that_grew_is_written_anew_and_shrinks() {
    let (disk, folders) = Memory::with_folders();
    let mut journal = Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, &[]).unwrap();
    while !journal.is_large() {
        journal.append(&[grant(1, "a.src.rpm"), end(1, false)]).unwrap();
    }
    journal.rewrite(&[grant(2, "b.src.rpm")]).unwrap();
    journal.append(&[end(2, false)]).unwrap();
    let loaded = load(&disk, &folders.working).unwrap();
    assert_eq!(loaded.incarnation, 7);
    assert_eq!(loaded.records, [grant(2, "b.src.rpm"), end(2, false)]);
}

#[test]
fn what_was_synced_survives_a_power_cut_and_so_does_a_journal_that_was_created_or_rewritten() {
    let (disk, folders) = Memory::with_folders();
    let mut journal = Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, &[]).unwrap();
    let read_after_a_cut = || {
        disk.crash(|_| 0);
        let loaded = load(&disk, &folders.working).unwrap();
        (loaded.incarnation, loaded.records)
    };
    assert_eq!(read_after_a_cut(), (7, vec![]));
    journal.append(&[grant(1, "a.src.rpm")]).unwrap();
    journal.sync().unwrap();
    journal.append(&[end(1, true)]).unwrap();
    assert_eq!(read_after_a_cut(), (7, vec![grant(1, "a.src.rpm")]), "the end was not synced");
    journal.rewrite(&[grant(2, "b.src.rpm")]).unwrap();
    assert_eq!(read_after_a_cut(), (7, vec![grant(2, "b.src.rpm")]));
}

#[test]
fn append_that_fails_leaves_no_gap_and_no_rest() {
    let (first, long, short) = (grant(1, "a.src.rpm"), grant(2, &"b".repeat(90)), end(1, false));
    for has_written in [false, true] {
        let (disk, folders) = Memory::with_folders();
        let mut journal = Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, &[]).unwrap();
        journal.append(std::slice::from_ref(&first)).unwrap();
        if has_written {
            // A full disk takes the first part of a write before it fails.
            let path = folders.working.join(FILE_NAME);
            let len = disk.bytes(&path).unwrap().len() as u64;
            let mut text = String::new();
            push_record(&mut text, &long);
            disk.open(&path).unwrap().write_at(&text.as_bytes()[..text.len() - 1], len).unwrap();
        }
        disk.fail_one(0);
        assert!(journal.append(std::slice::from_ref(&long)).is_err());
        disk.heal();
        journal.append(std::slice::from_ref(&short)).unwrap();
        journal.sync().unwrap();
        let want =
            Loaded { incarnation: 7, records: vec![first.clone(), short.clone()], ..Loaded::default() };
        assert_eq!(load(&disk, &folders.working).unwrap(), want);
    }
}

#[test]
fn rewrite_that_fails_says_which_journal_counts_and_is_not_tried_with_every_record() {
    let old = [grant(1, "a.src.rpm"), end(1, false)];
    let (mut kept, mut lost) = (0, 0);
    for call in 0.. {
        let (disk, folders) = Memory::with_folders();
        let mut journal = Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, &[]).unwrap();
        journal.append(&old).unwrap();
        journal.sync().unwrap();
        // An earlier rewrite was cut short.
        disk.put(folders.working.join(NEW_NAME), b"rest");
        journal.rewrite_at = 10;
        assert!(journal.is_large());
        disk.fail_one(call);
        let done = journal.rewrite(&[grant(2, "b.src.rpm")]);
        if !disk.has_failed() {
            assert!(done.is_ok() && !journal.is_large());
            break;
        }
        disk.heal();
        match done {
            Ok(()) => panic!("call {call} failed and nobody noticed"),
            Err(RewriteError::Kept(_)) => {
                kept += 1;
                assert!(!journal.is_large(), "not before it has doubled");
                journal.append(&[grant(3, "c.src.rpm")]).unwrap();
                journal.sync().unwrap();
                assert!(!journal.is_large(), "nor with the next record");
                let want = [&old[..], &[grant(3, "c.src.rpm")]].concat();
                assert_eq!(load(&disk, &folders.working).unwrap().records, want);
                while !journal.is_large() {
                    journal.append(&old).unwrap();
                }
            }
            Err(RewriteError::Lost(_)) => {
                lost += 1;
                let records = load(&disk, &folders.working).unwrap().records;
                assert!(records == old || records == [grant(2, "b.src.rpm")], "{records:?}");
            }
        }
    }
    // Remove, create, write, sync; then rename, sync.
    assert_eq!((kept, lost), (4, 2));
}

#[test]
fn journal_that_cannot_be_read_is_not_an_empty_one() {
    let (disk, working, _) = written(&[grant(1, "a.src.rpm")]);
    for call in 0..3 {
        disk.fail_one(call);
        assert!(load(&disk, &working).is_err(), "call {call}");
    }
    disk.heal();
    assert_eq!(load(&disk, &working).unwrap().records.len(), 1);
    disk.take(working.join(FILE_NAME));
    assert_eq!(load(&disk, &working).unwrap(), Loaded::default());
}

#[test]
fn journal_of_many_leases_is_not_written_anew_before_it_has_doubled() {
    let many: Vec<Record> = (0..9_000).map(|counter| grant(counter, &"a".repeat(100))).collect();
    let (disk, folders) = Memory::with_folders();
    let mut journal = Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, &many).unwrap();
    for is_rewritten in [false, true] {
        let len = journal.len;
        assert!(len > REWRITE_BYTES);
        journal.append(&many[..100]).unwrap();
        assert!(!journal.is_large(), "{is_rewritten}");
        while journal.len <= 2 * len {
            assert!(!journal.is_large(), "{is_rewritten}");
            journal.append(&many[..100]).unwrap();
        }
        assert!(journal.is_large());
        journal.rewrite(&many).unwrap();
    }
    journal.rewrite_at = journal.len;
    assert!(!journal.is_large(), "its limit is not over its limit");
}
