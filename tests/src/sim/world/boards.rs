//! Boards: the loop around each client's core, as the real shell has it.
//!
//! Owns when a client runs, dies and comes back.

use super::*;
use moji_client::effects::Link as _;
use moji_proto::refusal::Refusal;

use crate::sim::board::{Socket, Wish};

/// Exit code of a client with `--once` that was refused.
const REFUSED: u8 = moji_client::exit::REFUSED;

impl World {
    pub(super) fn board_up(&mut self, board: usize) {
        if self.boards[board].core.is_some() {
            return;
        }
        if self.faults_on && self.opt.clock_off_s > 0 {
            self.boards[board].clock_off_s = self.draw_clock();
        }
        self.say(|| format!("board{board} starts its client"));
        let (now, faults_on) = (self.now_ms, self.faults_on);
        let it = &mut self.boards[board];
        it.around.disk_fails = if faults_on { self.opt.client_disk } else { 0 };
        it.start(board, now);
        self.board_run(board);
    }

    pub(super) fn board_timer(&mut self, board: usize, run: u32) {
        let now = self.now_ms;
        let it = &mut self.boards[board];
        if it.epoch != run {
            return;
        }
        it.armed_ms = None;
        let Some(core) = &it.core else { return };
        if core.deadline().is_some_and(|at| it.began_ms + at.0 <= now) {
            it.around.events.push_back(Event::Timer);
        }
        self.board_run(board);
    }

    /// Lets a client take all events there are, as its shell does.
    pub(super) fn board_run(&mut self, board: usize) {
        let Some(mut core) = self.boards[board].core.take() else { return };
        let mut effects = Vec::new();
        loop {
            let it = &mut self.boards[board];
            it.around.now = Time(self.now_ms - it.began_ms);
            it.around.unix_s = (hub::UNIX_S + self.now_ms / 1_000).saturating_add_signed(it.clock_off_s);
            while let Some(event) = self.boards[board].around.events.pop_front() {
                let now = self.boards[board].around.now;
                core.handle(now, event, &mut effects);
                for effect in effects.drain(..) {
                    if self.chance(self.opt.client_kill) {
                        let power = self.dice.chance(self.opt.client_power);
                        return self.client_dies(board, power);
                    }
                    if let Effect::Exit(code) = effect {
                        return self.client_exits(board, code);
                    }
                    if let Effect::Send(message) = &effect {
                        self.say(|| format!("board{board} says {message:?}"));
                    }
                    let answer = perform(&mut self.boards[board].around, effect);
                    self.boards[board].around.events.extend(answer);
                    self.wishes(board);
                }
            }
            self.boards[board].around.feed();
            let moved = self.board_flush(board);
            self.wishes(board);
            let around = &self.boards[board].around;
            let more = moved && !around.pieces.is_empty();
            if around.events.is_empty() && !more {
                break;
            }
        }
        self.boards[board].core = Some(core);
        self.board_arm(board);
    }

    pub(super) fn board_arm(&mut self, board: usize) {
        let now = self.now_ms;
        let it = &mut self.boards[board];
        let Some(at) = it.core.as_ref().and_then(moji_client::core::Builder::deadline) else { return };
        let at = (it.began_ms + at.0).max(now);
        if it.armed_ms.is_none_or(|armed| at < armed) {
            it.armed_ms = Some(at);
            let run = it.epoch;
            self.at(at, Ev::BoardTimer(board, run));
        }
    }

    /// Writes what waits; says whether any of it went.
    pub(super) fn board_flush(&mut self, board: usize) -> bool {
        let Socket::Open(conn, _) = self.boards[board].around.socket else { return false };
        let mut out = std::mem::take(&mut self.boards[board].around.out);
        let mut moved = false;
        if !out.is_empty() {
            let taken = self.pipe_write(conn, Side::Hub, &out);
            out.drain(..taken);
            moved = taken > 0;
        }
        self.boards[board].around.out = out;
        moved
    }

    pub(super) fn wishes(&mut self, board: usize) {
        let wishes = std::mem::take(&mut self.boards[board].around.wishes);
        for wish in wishes {
            match wish {
                Wish::Connect => {
                    self.attempts[board] += 1;
                    let attempt = self.attempts[board];
                    let latency = self.network().latency_ms;
                    let ms = 1 + self.dice.within(latency.0, latency.1);
                    self.at(self.now_ms + ms, Ev::Connect(board, attempt));
                }
                Wish::Close(conn) => self.hang_up(conn, Side::Board),
                Wish::Build(lease, build) => self.build_starts(board, lease, build),
                Wish::Kill(lease, clean) => {
                    let ms = self.dice.within(5, 8_000);
                    let run = self.boards[board].epoch;
                    self.at(self.now_ms + ms, Ev::Killed(board, run, lease, clean));
                }
                Wish::Say(text) => self.say(|| format!("board{board}: {text}")),
            }
        }
    }

    pub(super) fn board_reads(&mut self, conn: u64) {
        let Some(board) = self.conns.get(&conn).map(|conn| conn.board) else { return };
        let input = self.pipe_arrived(conn, Side::Board);
        self.pipe_read(conn, Side::Board, input.len());
        let mut rest = &input[..];
        while !rest.is_empty() {
            let around = &mut self.boards[board].around;
            let Socket::Open(open, link) = &mut around.socket else { break };
            if *open != conn {
                break;
            }
            match link.receive(rest, &mut around.out) {
                Ok((used, event)) => {
                    rest = &rest[used..];
                    match event {
                        Some(channel::Event::Established { .. }) => around.events.push_back(Event::Connected),
                        Some(channel::Event::Record(record)) => match ToBuilder::decode(&record) {
                            Ok(message) => around.events.push_back(Event::Message(message)),
                            Err(error) => around.fail(&format!("the hub sent nonsense: {error}")),
                        },
                        Some(channel::Event::Refused(Refusal::Full)) => around.fail("the hub is full"),
                        Some(channel::Event::Refused(why)) => {
                            around.disconnect();
                            around.events.push_back(Event::Refused { why: why.to_string(), code: REFUSED });
                        }
                        None => {}
                    }
                }
                Err(error) => around.fail(&format!("the channel broke: {error}")),
            }
        }
        self.wishes(board);
        self.board_run(board);
    }

    pub(super) fn board_hears_end(&mut self, conn: u64) {
        let Some(board) = self.conns.get(&conn).map(|conn| conn.board) else { return };
        self.board_reads(conn);
        if matches!(self.boards[board].around.socket, Socket::Open(open, _) if open == conn) {
            self.boards[board].around.fail("the hub closed the connection");
            self.wishes(board);
            self.board_run(board);
        }
        self.forget(conn);
    }

    pub(super) fn client_exits(&mut self, board: usize, code: u8) {
        self.say(|| format!("board{board}: its client ends with {code}"));
        self.wishes(board);
        if let Some(conn) = self.boards[board].end() {
            self.hang_up(conn, Side::Board);
        }
        self.client_comes_back(board);
    }

    pub(super) fn client_dies(&mut self, board: usize, power: bool) {
        self.stats.client_crashes += 1;
        self.say(|| format!("board{board}: {}", if power { "loses power" } else { "its client is killed" }));
        self.wishes(board);
        let conn = self.boards[board].end();
        if power {
            let mut dice = Dice::new(self.dice.bits());
            self.boards[board].lose_power(&mut dice);
        }
        if let Some(conn) = conn {
            if power && let Some(it) = self.conns.get_mut(&conn) {
                it.up.open_hole();
                it.down.open_hole();
                it.board_closed = true;
            } else {
                self.hang_up(conn, Side::Board);
            }
        }
        self.client_comes_back(board);
    }

    pub(super) fn client_comes_back(&mut self, board: usize) {
        let long = self.chance(300_000);
        let ms = self.dice.within(100, if long { 900_000 } else { 10_000 });
        self.at(self.now_ms + ms, Ev::BoardUp(board));
    }
}
