//! People and faults: what happens from outside.
//!
//! Owns the first phase's troubles and the moment at which they stop.

use super::*;

/// By how much a clock is set wrong at most, seconds: 60 years, past 2038 and to before 1970.
const CLOCK_JUMP_MAX_S: u64 = 60 * 365 * 86_400;

impl World {
    pub(super) fn drop_package(&mut self, package: usize) {
        self.dropped[package] = true;
        self.put(package);
    }

    pub(super) fn put(&mut self, package: usize) {
        let name = srpm_name(package);
        self.say(|| format!("somebody drops {name}"));
        self.check.absent.remove(&name);
        self.disk.put(&format!("source/{name}"), &self.srpms[package].0);
        self.tell_watch();
    }

    pub(super) fn tell_watch(&mut self) {
        self.with_hub(self.hub_gen, |hub, world| hub.watch(world));
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Full => {
                self.say(|| "the hub's disk is full".to_owned());
                self.disk.set_full(true);
                let ms = self.dice.within(1_000, 120_000);
                self.at(self.now_ms + ms, Ev::Unfull);
            }
            Fault::Network => self.network_fault(),
            Fault::Outage => {
                let ms = self.dice.within(5_000, 150_000);
                self.say(|| format!("nobody reaches the hub for {ms} ms"));
                self.outage_until_ms = self.now_ms + ms;
                for conn in self.conns.values_mut() {
                    conn.up.open_hole();
                    conn.down.open_hole();
                }
            }
            Fault::Stop => {
                let board = self.dice.below(self.boards.len() as u64) as usize;
                let event = if self.dice.chance(500_000) { Event::Stop } else { Event::Drain };
                self.say(|| format!("board{board} is told to {event:?}"));
                if self.boards[board].core.is_some() {
                    self.boards[board].around.events.push_back(event);
                    self.board_run(board);
                }
            }
            Fault::People => self.people(),
            Fault::HubStop => self.hub_stops(),
            Fault::Lists => self.edit_a_list(),
            Fault::Repo => self.change_repo(),
            Fault::Clock => self.set_a_clock(),
        }
    }

    /// Somebody sets the wall clock of the hub or a board, right or by up to 60 years wrong: what a board without a
    /// battery comes up with, and what somebody's slip of a finger makes of it.
    fn set_a_clock(&mut self) {
        let off_s = match self.dice.below(5) {
            0 | 1 => 0,
            2 => -(self.dice.within(1, CLOCK_JUMP_MAX_S) as i64),
            _ => self.dice.within(1, CLOCK_JUMP_MAX_S) as i64,
        };
        let who = self.dice.below(2 * self.boards.len() as u64) as usize;
        if let Some(board) = self.boards.get_mut(who) {
            board.clock_off_s = off_s;
            self.say(|| format!("board{who}'s clock is set {off_s} s off"));
        } else {
            self.hub_off_s = off_s;
            if let Some(hub) = &mut self.hub {
                hub.set_wall_clock(off_s);
            }
            self.say(|| format!("the hub's clock is set {off_s} s off"));
        }
    }

    /// Somebody stops the hub in order, and starts it again.
    fn hub_stops(&mut self) {
        let Some(mut hub) = self.hub.take() else { return };
        self.say(|| "the hub is told to stop".to_owned());
        self.stopping = true;
        self.check.hub_stops();
        hub.stop(self);
        self.stopping = false;
        self.hub = Some(hub);
        let power = self.disk.is_off();
        self.hub_dies(power);
    }

    fn edit_a_list(&mut self) {
        let mut packages: Vec<usize> = (0..self.dropped.len()).collect();
        for i in (1..packages.len()).rev() {
            let j = self.dice.below(i as u64 + 1) as usize;
            packages.swap(i, j);
        }
        packages.truncate(self.dice.below(packages.len() as u64 + 1) as usize);
        let end = *self.dice.pick(&["\n", "\r\n"]);
        let mut text = self.dice.pick(&["", "\u{feff}", "# first\n\n"]).to_string();
        let file = if self.dice.chance(600_000) {
            for package in &packages {
                let line =
                    [srpm_name(*package), format!("p{package}-1-1"), format!("./p{package}-1-1.src.rpm")];
                text.push_str(self.dice.pick(&line).as_str());
                text.push_str(end);
            }
            text.push_str("not-there-1-1.src.rpm");
            self.priority = packages.iter().map(|package| format!("p{package}-1-1")).collect();
            "priority.txt"
        } else {
            for package in &packages {
                let words = *self.dice.pick(&["--nocheck", "--with x", "--without y", "--define 'a b'"]);
                text.push_str(&format!("p{package}-* {words}{end}"));
                let words = words.replace('\'', "");
                let (option, value) = words.split_once(' ').unwrap_or((&words, ""));
                self.check.may_have(*package, option, value);
            }
            "options.txt"
        };
        self.say(|| format!("somebody writes {file}: {text:?}"));
        self.disk.put(&format!("source/{file}"), text.as_bytes());
        self.tell_watch();
    }

    pub(super) fn network_fault(&mut self) {
        let all: Vec<u64> = self.conns.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let conn = *self.dice.pick(&all);
        let kind = self.dice.below(4);
        self.say(|| format!("connection {conn}: {}", ["reset", "deaf", "mute", "dead"][kind as usize]));
        let Some(it) = self.conns.get_mut(&conn) else { return };
        if kind != 1 {
            it.down.open_hole();
        }
        if kind != 2 {
            it.up.open_hole();
        }
        if kind == 0 {
            self.at(self.now_ms, Ev::Fin(conn, Side::Hub));
            self.at(self.now_ms, Ev::Fin(conn, Side::Board));
        }
    }

    pub(super) fn people(&mut self) {
        let package = self.dice.below(self.dropped.len() as u64) as usize;
        if !self.dropped[package] || self.pocket.contains(&package) {
            return;
        }
        let name = srpm_name(package);
        self.check.touched.insert(name.clone());
        match self.dice.below(3) {
            0 => self.put(package),
            1 => {
                if self.disk.shove(&format!("finished/{name}"), &format!("source/{name}")) {
                    self.say(|| format!("somebody moves {name} from finished/ to source/"));
                    self.tell_watch();
                }
            }
            _ => {
                self.check.absent.insert(name.clone());
                let taken =
                    ["working", "source", "finished"].map(|place| self.disk.take(&format!("{place}/{name}")));
                if taken.contains(&true) {
                    self.say(|| format!("somebody takes {name} away"));
                    self.dropped[package] = false;
                    self.pocket.push(package);
                    self.tell_watch();
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.say(|| "the faults stop".to_owned());
        self.faults_on = false;
        self.healed_ms = self.now_ms;
        self.outage_until_ms = 0;
        self.set_disk_faults();
        self.disk.set_full(false);
        // Somebody sets all clocks right, also of a hub that runs.
        self.hub_off_s = 0;
        if let Some(hub) = &mut self.hub {
            hub.set_wall_clock(0);
        }
        for board in &mut self.boards {
            board.clock_off_s = 0;
            board.around.disk_fails = 0;
            board.settle_folder();
        }
        for package in std::mem::take(&mut self.pocket) {
            self.drop_package(package);
        }
        for package in 0..self.dropped.len() {
            if !self.dropped[package] && self.opt.packages[package].dropped_ms <= self.now_ms {
                self.drop_package(package);
            }
        }
        self.at(self.now_ms + self.opt.inspect_every_ms, Ev::Inspect);
    }
}
