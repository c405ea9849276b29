//! The watch with real inotify on real folders.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::clock;

/// How long a test waits for what must come; never waited for in vain.
const PATIENCE: Duration = Duration::from_secs(20);
/// A file that was just written is never called truncated by chance.
const LONG_MS: u64 = 3_600_000;

/// A source package of these bytes of payload, as rpm before version 4 would have written it.
fn package(name: &str, payload: &[u8]) -> Vec<u8> {
    fn header(tags: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for (tag, kind, data) in tags {
            [*tag, *kind, store.len() as u32, 1].iter().for_each(|n| index.extend(n.to_be_bytes()));
            store.extend(data);
        }
        let mut all = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        all.extend((tags.len() as u32).to_be_bytes());
        all.extend((store.len() as u32).to_be_bytes());
        [all, index, store].concat()
    }
    let string = |tag, text: &str| (tag, 6, [text.as_bytes(), &[0]].concat());
    let main = header(&[string(1000, name), string(1001, "1"), string(1002, "1"), string(1022, "noarch")]);
    let size = (main.len() + payload.len()) as u32;
    let signature = header(&[(1000, 4, size.to_be_bytes().to_vec())]);
    let mut all = vec![0; 96];
    all[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    all[79] = 5;
    all.extend(signature);
    all.resize(all.len().next_multiple_of(8), 0);
    [all, main, payload.to_vec()].concat()
}

struct Rig {
    dir: tempfile::TempDir,
    handle: Handle,
    queue: Receiver<queue::Msg>,
    leases: Receiver<leases::Msg>,
}

fn setup(truncated_after_ms: u64) -> (tempfile::TempDir, Setup, Receiver<queue::Msg>, Receiver<leases::Msg>) {
    let dir = tempfile::tempdir().unwrap();
    let [source, working, finished] = ["source", "working", "finished"].map(|name| dir.path().join(name));
    for path in [&source, &working, &finished] {
        fs::create_dir(path).unwrap();
    }
    let (queue, queue_in) = unbounded();
    let (leases, leases_in) = unbounded();
    (dir, Setup { source, working, finished, queue, leases, truncated_after_ms }, queue_in, leases_in)
}

impl Rig {
    fn start(truncated_after_ms: u64) -> (Rig, JoinHandle<()>) {
        let (dir, setup, queue, leases) = setup(truncated_after_ms);
        let (handle, thread) = start(setup, clock::Real::default()).unwrap();
        (Rig { dir, handle, queue, leases }, thread)
    }

    fn new() -> Rig {
        let (rig, _) = Rig::start(LONG_MS);
        assert_eq!(rig.said(), "priority");
        assert_eq!(rig.said(), "options 0");
        assert!(matches!(rig.queue.recv_timeout(PATIENCE), Ok(queue::Msg::Scanned)));
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The next thing that the queue is told, the end of a look at everything left out.
    fn said(&self) -> String {
        loop {
            match self.queue.recv_timeout(PATIENCE).unwrap() {
                queue::Msg::Scanned => {}
                msg => return said(msg),
            }
        }
    }

    /// What the queue is told up to and with `last`.
    fn said_until(&self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|said| said != last) {
            all.push(self.said());
        }
        all
    }
}

fn said(msg: queue::Msg) -> String {
    match msg {
        queue::Msg::Appeared { srpm, facts } => format!("{srpm} {} {}", facts.facts.nevra.name, facts.size),
        queue::Msg::Unusable { srpm, why } => format!("{srpm}: {why}"),
        queue::Msg::Vanished { srpm } => format!("{srpm} gone"),
        queue::Msg::FinishedChanged { srpm, present } => format!("{srpm} finished {present}"),
        queue::Msg::Priority(names) => {
            ["priority".to_owned()].into_iter().chain(names).collect::<Vec<_>>().join(" ")
        }
        queue::Msg::Options(rules) => format!("options {}", rules.len()),
        queue::Msg::Scanned => "scanned".to_owned(),
        other => panic!("{other:?}"),
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

#[test]
fn a_file_copied_slowly_counts_when_its_last_byte_is_there() {
    let rig = Rig::new();
    let bytes = package("a", &[7; 5_000]);
    let mut file = File::create(rig.path("source/a.src.rpm")).unwrap();
    for piece in bytes.chunks(700) {
        assert!(rig.queue.is_empty());
        file.write_all(piece).unwrap();
    }
    // Noticed although whoever writes keeps it open.
    assert_eq!(rig.said(), format!("a.src.rpm a {}", bytes.len()));
    drop(file);
    rig.handle.rescan();
    assert_eq!(rig.said(), format!("a.src.rpm a {}", bytes.len()));
}

#[test]
fn a_file_that_stays_short_is_named_once_and_counts_when_it_is_completed() {
    let (rig, thread) = Rig::start(10);
    rig.said_until("options 0");
    let bytes = package("a", b"payload");
    fs::write(rig.path("a"), &bytes[..bytes.len() - 1]).unwrap();
    let mut file = File::options().append(true).open(rig.path("a")).unwrap();
    fs::rename(rig.path("a"), rig.path("source/a.src.rpm")).unwrap();
    let whole = bytes.len();
    assert_eq!(rig.said(), format!("a.src.rpm: truncated: has {} of {whole} bytes", whole - 1));
    file.write_all(&bytes[whole - 1..]).unwrap();
    drop(file);
    assert_eq!(rig.said_until(&format!("a.src.rpm a {whole}")).len(), 1);
    rig.handle.stop();
    thread.join().unwrap();
}

#[test]
fn what_is_no_source_package_is_named() {
    let rig = Rig::new();
    let long = [package("a", b""), vec![0]].concat();
    fs::write(rig.path("source/.hidden.src.rpm"), b"x").unwrap();
    fs::write(rig.path("source/text.src.rpm"), b"not a package").unwrap();
    assert_eq!(rig.said(), "text.src.rpm: not an RPM package");
    fs::create_dir(rig.path("source/dir.src.rpm")).unwrap();
    assert_eq!(rig.said(), "dir.src.rpm: not a file");
    symlink("/nowhere", rig.path("source/link.src.rpm")).unwrap();
    assert_eq!(rig.said(), "link.src.rpm: a link to nowhere");
    fs::write(rig.path("long"), long).unwrap();
    fs::rename(rig.path("long"), rig.path("source/long.src.rpm")).unwrap();
    assert!(rig.said().starts_with("long.src.rpm: too long"));
}

#[test]
fn files_and_links_moved_in_count_at_once_and_deleted_ones_are_gone() {
    let rig = Rig::new();
    let bytes = package("a", b"payload");
    fs::write(rig.path("a"), &bytes).unwrap();
    symlink(rig.path("a"), rig.path("source/link.src.rpm")).unwrap();
    assert_eq!(rig.said(), format!("link.src.rpm a {}", bytes.len()));
    fs::rename(rig.path("a"), rig.path("source/a.nosrc.rpm")).unwrap();
    assert_eq!(rig.said(), format!("a.nosrc.rpm a {}", bytes.len()));
    fs::remove_file(rig.path("source/a.nosrc.rpm")).unwrap();
    assert_eq!(rig.said(), "a.nosrc.rpm gone");
}

#[test]
fn the_way_through_the_folders_is_seen() {
    let rig = Rig::new();
    let bytes = package("a", b"payload");
    fs::write(rig.path("a"), &bytes).unwrap();
    fs::rename(rig.path("a"), rig.path("source/a.src.rpm")).unwrap();
    let appeared = format!("a.src.rpm a {}", bytes.len());
    assert_eq!(rig.said(), appeared);
    fs::rename(rig.path("source/a.src.rpm"), rig.path("working/a.src.rpm")).unwrap();
    assert_eq!(rig.said(), "a.src.rpm gone");
    fs::rename(rig.path("working/a.src.rpm"), rig.path("finished/a.src.rpm")).unwrap();
    let vanished = rig.leases.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(vanished, leases::Msg::Vanished { srpm } if srpm.as_str() == "a.src.rpm"));
    assert_eq!(rig.said(), "a.src.rpm finished true");
    fs::rename(rig.path("finished/a.src.rpm"), rig.path("source/a.src.rpm")).unwrap();
    assert_eq!(rig.said_until(&appeared), ["a.src.rpm finished false", &appeared]);
}

#[test]
fn what_is_there_at_the_start_is_told_after_the_lists() {
    let (dir, setup, queue, _leases) = setup(LONG_MS);
    let bytes = package("a", b"");
    fs::write(setup.source.join("a.src.rpm"), &bytes).unwrap();
    fs::write(setup.finished.join("b.src.rpm"), b"").unwrap();
    fs::write(setup.source.join("priority.txt"), b"a\n").unwrap();
    fs::write(setup.source.join("options.txt"), b"* --nocheck\n").unwrap();
    let (handle, _) = start(setup, clock::Real::default()).unwrap();
    // All of it when the start returns.
    let told: Vec<String> = queue.try_iter().take(4).map(said).collect();
    let appeared = format!("a.src.rpm a {}", bytes.len());
    assert_eq!(told, ["priority a.src.rpm", "options 1", &appeared, "b.src.rpm finished true"]);
    handle.stop();
    drop(dir);
}

#[test]
fn edits_of_the_lists_are_noticed_however_an_editor_saves() {
    let rig = Rig::new();
    let list = rig.path("source/priority.txt");
    fs::write(&list, "a\n").unwrap();
    assert_eq!(rig.said_until("priority a.src.rpm").last().unwrap(), "priority a.src.rpm");
    fs::write(rig.path("source/.priority.txt.swp"), "b\na\n").unwrap();
    fs::rename(rig.path("source/.priority.txt.swp"), &list).unwrap();
    assert_eq!(rig.said(), "priority b.src.rpm a.src.rpm");
    File::options().append(true).open(&list).unwrap().write_all(b"c\n").unwrap();
    assert_eq!(rig.said(), "priority b.src.rpm a.src.rpm c.src.rpm");
    fs::remove_file(&list).unwrap();
    assert_eq!(rig.said(), "priority");
    fs::write(rig.path("new"), "gcc* --nocheck\n").unwrap();
    fs::rename(rig.path("new"), rig.path("source/options.txt")).unwrap();
    assert_eq!(rig.said(), "options 1");
}

#[test]
fn when_events_are_lost_everything_is_looked_at() {
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // Where the system queues far more than its default, overflowing it would take too long.
    assert!(most <= 100_000, "fs.inotify.max_queued_events is {most}");
    let (dir, setup, queue, _leases) = setup(LONG_MS);
    let (source, spare) = (setup.source.clone(), dir.path().join("spare"));
    let (mut watch, _handle) = Watch::new(setup, Box::new(clock::Real::default())).unwrap();
    fs::write(&spare, b"").unwrap();
    for turn in 0..=most / 2 {
        // Each rename makes an event that does not equal the one before it.
        let name = source.join(format!("{turn}.txt"));
        fs::rename(&spare, &name).unwrap();
        fs::rename(&name, &spare).unwrap();
    }
    let bytes = package("a", b"payload");
    fs::write(source.join("a.src.rpm"), &bytes).unwrap();
    watch.drain().unwrap();
    let told: Vec<String> = queue.try_iter().map(said).collect();
    assert_eq!(told, ["priority", "options 0", &format!("a.src.rpm a {}", bytes.len()), "scanned"]);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let (_dir, mut setup, _queue, _leases) = setup(LONG_MS);
    setup.working.push("missing");
    let error = start(setup, clock::Real::default()).err().unwrap();
    assert!(error.to_string().contains("working/missing"), "{error}");
}
