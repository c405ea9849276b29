//! The watch: hears of changes in the folders and looks at files.
//!
//! Owns what the daemon's inotify shell owns. Reads past the disk's faults: the watch reads the real file system.

use super::*;

/// Bytes of a file of the simulated disk, read past its faults: the watch reads the real file system.
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0[..].read_at(buf, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

impl Hub {
    /// Hands what changed in the folders to the watch, a little later.
    pub(in crate::sim) fn watch(&mut self, world: &mut World) {
        for change in world.disk.take_changes() {
            world.check.one_place(&world.disk, &change.name);
            let ms = world.dice.below(30);
            let at = (world.now_ms + ms).max(world.watch_ms);
            world.watch_ms = at;
            let generation = world.hub_gen;
            world.at(at, Ev::Watch(generation, change));
        }
    }

    /// The watch hears of a change.
    pub(in crate::sim) fn changed(&mut self, world: &mut World, change: &Change) {
        if world.chance(world.opt.watch_overflow) {
            return self.intake(world, intake::Msg::Rescan);
        }
        let place = match change.folder.as_str() {
            "source" => Place::Source,
            "working" => Place::Working,
            _ => Place::Finished,
        };
        let what = if change.arrived { What::Arrived } else { What::Left };
        self.intake(world, intake::Msg::Event { place, name: change.name.clone().into(), what });
    }

    pub(super) fn intake(&mut self, world: &mut World, msg: intake::Msg) {
        let mut out = Vec::new();
        let now = self.now(world);
        self.intake.handle(now, msg, &mut out);
        for effect in out {
            match effect {
                intake::Effect::List(place) => {
                    let folder = match place {
                        Place::Source => "source",
                        Place::Working => "working",
                        Place::Finished => "finished",
                    };
                    let names = world.disk.names(folder).into_iter().map(Into::into).collect();
                    self.intake(world, intake::Msg::Listed { place, names });
                }
                intake::Effect::Look(name) => {
                    let seen = look(&world.disk, &format!("source/{name}"));
                    self.intake(world, intake::Msg::Looked { name, seen });
                }
                intake::Effect::Read(list) => {
                    let bytes = world.disk.bytes(&format!("source/{}", list.file_name()));
                    self.intake(world, intake::Msg::Read { list, bytes });
                }
                intake::Effect::Queue(msg) => self.tell_queue(msg),
                intake::Effect::Leases(msg) => self.tell_leases(msg),
                intake::Effect::Log(_, text) => world.say(|| format!("watch: {text}")),
            }
        }
        self.intake_at = self.intake.deadline();
    }
}

/// What is at `path`, as the watch looks at it.
pub(super) fn look(disk: &SimDisk, path: &str) -> Seen {
    let (Some((len, inode)), Some(bytes)) = (disk.look(path), disk.bytes(path)) else { return Seen::Gone };
    let stamp = Stamp { len, modified_ns: 0, inode };
    let bytes = Bytes(bytes);
    match expected_file_len(&bytes) {
        Ok(want) if want.is_none_or(|want| len < want) => Seen::Short { stamp, want },
        Ok(_) => match read_facts(&bytes) {
            Ok(facts) if facts.kind == Kind::Source => Seen::Whole { stamp, srpm: Srpm { size: len, facts } },
            Ok(_) => Seen::Bad { stamp: Some(stamp), why: "a binary package".to_owned() },
            Err(error) => Seen::Bad { stamp: Some(stamp), why: error.to_string() },
        },
        Err(error) => Seen::Bad { stamp: Some(stamp), why: error.to_string() },
    }
}
