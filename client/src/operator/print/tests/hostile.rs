//! Whatever rows hold, no line is wider than the terminal, and nothing on it is an order to the terminal.

use moji_proto::message::{NoCode, Trouble, Which};

use super::super::text::is_hazard;
use super::*;

/// What a hub that lies, or a log that was made to, could put into any text.
pub(super) const TEXTS: [&str; 14] = [
    "",
    " ",
    "zlib-1.3-1",
    "a word and another and many more that make a line so long that it fits no terminal of eighty columns at all",
    "\u{1b}[2J\u{1b}[31m\u{9b}H",
    "\u{202e}gnp.mpr.crs\u{2066}\u{200f}\u{2028}",
    "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字",
    "a漢b字 c漢d字 e漢f字 g漢h字 i漢j字 k漢l字 m漢n字 o漢p字 q漢r字 s漢t字 u漢v字 w漢x字 y漢z字",
    "e\u{301}\u{302}\u{303}\u{304}\u{305}",
    "\u{1f469}\u{200d}\u{1f4bb}\u{fe0f}\u{1f1e9}\u{1f1ea}",
    "مرحبا بالعالم",
    "\u{301}\u{feff}\u{ad}\u{3164}\u{e0001}",
    "x                                                                                              y",
    "\"quoted\\\" {json: [1, 2]}",
];

/// xorshift64*: the same rows in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// A number of any length.
    fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        let n = (self.below(1 << 31) as u64) << 33 | (self.below(1 << 31) as u64) << 2;
        n.checked_shr(64 - bits).unwrap_or(0)
    }

    fn small(&mut self) -> u32 {
        (self.number() >> 32) as u32
    }

    fn line(&mut self) -> Line {
        match self.below(16) {
            0 => line(&"x".repeat(1_000)),
            1 => line(&"ab cd ".repeat(170)),
            2 => line(&"漢".repeat(341)),
            n => line(&format!("{}{}", TEXTS[n % TEXTS.len()], TEXTS[self.below(TEXTS.len())])),
        }
    }

    fn file(&mut self) -> FileName {
        let text: String = self.line().as_str().chars().take(60).collect();
        file(&format!("n{}.src.rpm", text.replace('/', "-")))
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn phase(&mut self) -> Phase {
        self.of(&[Phase::Fetch, Phase::Init, Phase::Setup, Phase::Build, Phase::Collect, Phase::Upload])
    }

    fn verdict(&mut self) -> Verdict {
        self.of(&[
            Verdict::Success,
            Verdict::Infra,
            Verdict::Memory,
            Verdict::Failed,
            Verdict::Lost,
            Verdict::Released,
            Verdict::Timeout,
        ])
    }

    fn package(&mut self) -> PackageRow {
        PackageRow {
            srpm: self.file(),
            nevr: self.line(),
            state: self.of(&PackageState::ALL),
            why: self.line(),
            age_s: self.small(),
            size: self.number(),
            priority: self.small(),
            charged: self.small() as u16,
            lease: self.maybe(|_| LEASE),
            builder: self.maybe(Random::file),
            phase: self.maybe(Random::phase),
            phase_age_s: self.small(),
            line: self.line(),
            place: self.line(),
            expected_s: self.small(),
            widened: self.small() as u16,
        }
    }

    fn builder(&mut self) -> BuilderRow {
        BuilderRow {
            name: self.line(),
            peer: self.line(),
            why: self.line(),
            until_s: self.small(),
            age_s: self.small(),
            arch: self.line(),
            version: self.line(),
            cfg: self.line(),
            cpus: self.small() as u16,
            memory_mib: self.small(),
            health: Health {
                disk_free_mib: self.small(),
                memory_free_mib: self.small(),
                load_centi: self.small(),
                celsius: self.maybe(|random| random.small() as u8),
                clock_off_s: self.small() as i32,
                trouble: self.maybe(|random| random.of(&[Trouble::Clock, Trouble::Disk])),
            },
            srpm: self.maybe(Random::file),
            phase: self.maybe(Random::phase),
            faults: self.small() as u16,
            built: self.small(),
            failed: self.small(),
            suspect: self.line(),
            ..builder("", self.of(&BuilderState::ALL))
        }
    }

    fn farm(&mut self) -> FarmRow {
        FarmRow {
            unix_s: self.number(),
            up_s: self.small(),
            version: self.file(),
            target: self.line(),
            packages: std::array::from_fn(|_| self.small()),
            builders: std::array::from_fn(|_| self.small()),
            free_bytes: self.number(),
            floor_bytes: self.number(),
            blocked: self.line(),
            idle: self.line(),
            rpms: self.small(),
            ends_in_s: self.small(),
            thin: self.line(),
        }
    }

    fn texts(&mut self) -> Vec<Text> {
        let topics = [Topic::Evidence, Topic::Option, Topic::File, Topic::Wants, Topic::Provenance];
        (0..self.below(6)).map(|_| Text { topic: self.of(&topics), line: self.line() }).collect()
    }

    fn attempt(&mut self) -> Attempt {
        let row = AttemptRow {
            builder: self.line(),
            began_unix_s: self.number(),
            ended_unix_s: self.number(),
            seconds: self.small(),
            reason: self.line(),
            charged: self.below(2) == 0,
            place: self.line(),
            ..attempt(self.small() as u16, None)
        };
        Attempt { row: AttemptRow { verdict: self.maybe(Random::verdict), ..row }, texts: self.texts() }
    }

    fn event(&mut self) -> EventRow {
        EventRow {
            unix_ms: self.number(),
            srpm: self.maybe(Random::file),
            builder: self.maybe(Random::file),
            verdict: self.maybe(Random::verdict),
            phase: self.maybe(Random::phase),
            state: self.maybe(|random| random.of(&PackageState::ALL)),
            who: self.line(),
            text: self.line(),
            ..event_row(self.of(&EventKind::ALL))
        }
    }
}

impl Random {
    fn lacks(&mut self) -> Vec<LackRow> {
        let lack = |random: &mut Random| LackRow {
            capability: random.line(),
            there: random.below(2) == 0,
            any: random.below(2) == 0,
            holds: random.small(),
            holds_all: random.small(),
            chain_s: random.small(),
            from: random.maybe(Random::file),
            state: random.maybe(|random| random.of(&PackageState::ALL)),
            text: random.line(),
        };
        (0..self.below(4)).map(|_| lack(self)).collect()
    }

    fn rows(&mut self, attempts: &[Attempt]) -> Vec<AttemptRow> {
        attempts.iter().map(|attempt| attempt.row.clone()).collect()
    }

    fn blocked(&mut self, style: &Style) -> String {
        let row = BlockedRow {
            packages: self.small(),
            unnamed: self.small(),
            capabilities: self.small(),
            cycles: self.small(),
        };
        let cycle = |random: &mut Random| {
            let (members, imports) = (random.small(), random.small());
            let (exact, sure) = (random.below(2) == 0, random.below(2) == 0);
            Cycle { row: CycleRow { members, imports, exact, sure }, texts: random.texts() }
        };
        let cycles: Vec<Cycle> = (0..self.below(3)).map(|_| cycle(self)).collect();
        blocked(style, &row, &self.lacks(), &cycles)
    }
}

/// Everything that can be printed, of random rows; the same ones for the same seed.
fn screens(style: &Style, seed: u64) -> Vec<(&'static str, String)> {
    let random = &mut Random(seed);
    let packages: Vec<PackageRow> = (0..random.below(8)).map(|_| random.package()).collect();
    let builders: Vec<BuilderRow> = (0..random.below(12)).map(|_| random.builder()).collect();
    let attempts: Vec<Attempt> = (0..random.below(4)).map(|_| random.attempt()).collect();
    let events: Vec<EventRow> = (0..4).map(|_| random.event()).collect();
    let names: Vec<Line> = (0..random.below(30)).map(|_| random.line()).collect();
    let (target, text, srpm) = (random.line(), random.line(), random.file());
    vec![
        ("status", status(style, &random.farm(), &packages, &builders)),
        ("list", super::super::packages(style, &packages)),
        ("show", show(style, &random.package(), &random.texts(), &attempts)),
        ("why", why(style, &random.package(), &random.texts(), &random.lacks(), &random.rows(&attempts))),
        ("blocked", random.blocked(style)),
        ("builders", super::super::builders(style, &builders)),
        ("builder", super::super::builder(style, &random.builder())),
        ("history", history(style, &events)),
        ("changed", changed(style, &target, &text)),
        ("no", no(style, NoCode::Ambiguous, &target, &text, &names)),
        ("progress", progress(style, target.as_str(), random.number(), random.number(), random.number())),
        ("log_of", log_of(style, &srpm, Which::Build, 1, LEASE, true)),
        ("log_end", log_end(style, &srpm, Some(random.verdict()), &text)),
    ]
}

/// The text without the escape codes that `page` writes.
fn plain(text: &str) -> String {
    let codes = ["0", "1", "2", "31", "32", "33", "36"];
    codes.iter().fold(text.to_owned(), |text, code| text.replace(&format!("\x1b[{code}m"), ""))
}

#[test]
fn no_line_is_wider_than_the_terminal_whatever_rows_hold() {
    for seed in 1..=60 {
        // Most terminals have 80 columns; the others must do no harm.
        for width in [80, 80 + 2 * seed as usize, seed as usize] {
            let style = Style { width: Some(width), ..terminal() };
            for (name, screen) in screens(&style, seed) {
                for line in screen.lines() {
                    assert!(
                        columns(line) <= width.max(1),
                        "{name} of seed {seed}, {width} columns: {line:?}"
                    );
                    assert!(!line.chars().any(is_hazard), "{name} of seed {seed}: {line:?}");
                    assert!(!line.ends_with(' ') || name == "progress", "{name} of seed {seed}: {line:?}");
                }
            }
        }
    }
}

#[test]
fn colour_changes_no_text_and_every_one_of_it_ends() {
    for seed in 1..=30 {
        for ((name, coloured), (_, calm)) in screens(&coloured(), seed).iter().zip(screens(&terminal(), seed))
        {
            assert_eq!(plain(coloured), calm, "{name} of seed {seed}");
            for line in coloured.lines() {
                let (begun, ended) = (line.matches("\x1b[").count(), line.matches("\x1b[0m").count());
                assert_eq!(begun, 2 * ended, "{name} of seed {seed}: {line:?}");
            }
        }
    }
}

#[test]
fn programs_get_every_text_whole() {
    for seed in 1..=30 {
        let random = &mut Random(seed);
        let (mut package, builder) = (random.package(), random.builder());
        package.phase = None;
        let list = super::super::packages(&piped(), std::slice::from_ref(&package));
        for text in [package.srpm.as_str().trim_end_matches(".src.rpm"), package.why.as_str()] {
            assert!(list.contains(safe(text).trim_end()), "seed {seed}: {text:?}");
        }
        let long = super::super::builder(&piped(), &builder);
        for text in [&builder.name, &builder.why, &builder.peer] {
            assert!(long.contains(safe(text.as_str()).trim_end()), "seed {seed}: {text:?}");
        }
    }
    for seed in 1..=30 {
        for (name, screen) in screens(&piped(), seed) {
            assert!(!screen.contains('…'), "{name} of seed {seed}: {screen}");
            assert!(!screen.contains('\x1b'), "{name} of seed {seed}: {screen}");
        }
    }
}

#[test]
fn hostile_text_is_shown_for_what_it_is() {
    let mut row = package("zlib-1.3-1", PackageState::Failed);
    row.why = line("\u{202e}lla si llew\u{202c} 漢字 and then a lot more that is of no use");
    row.srpm = file("zlib\u{200b}-1.3-1.src.rpm");
    check(
        &packages(&terminal(), &[row]),
        "
PACKAGE             STATE        FOR  WHY
zlib\\u{200b}-1.3-1  failed  3 h 05 m  \\u{202e}lla si llew\\u{202c} 漢字 and then…
",
    );
}
