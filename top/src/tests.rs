//! Whole screens, and what keys do to them.
//!
//! Owns the farms that they are of. Screens are drawn by a terminal that only remembers ([`TestBackend`]).

use moji_client::operator::print::Zone;
use moji_proto::message::{
    Backend, BuilderRow, BuilderState, EventKind, EventRow, FarmRow, FromOperator, Health, PackageRow,
    PackageState, Phase, ToOperator, Topic, Verdict,
};
use moji_proto::{FileName, LeaseId, Line, PublicKey};
use ratatui_core::backend::TestBackend;
use ratatui_core::style::Color;
use ratatui_core::terminal::Terminal;

use crate::cli::{page, text};
use crate::keys::Key;
use crate::model::{Farm, Model, RESULTS_MAX};
use crate::screen::{Look, draw};
use crate::ui::{Page, Pane, Ticket, Ui, Wish};

/// 2026-11-22 19:31:05 UTC.
const NOW: u64 = 1_795_375_865;
const LEASE: LeaseId = LeaseId { incarnation: 1, counter: 1 };

fn look() -> Look {
    Look { colour: true, now_unix_s: NOW, zone: Zone::default(), is_live: true }
}

fn file(name: &str) -> FileName {
    FileName::new(name).unwrap()
}

fn farm() -> Farm {
    let row = FarmRow {
        unix_s: NOW,
        up_s: 273_600,
        version: file("0.1.0"),
        target: Line::lossy("armv5tel"),
        packages: [0; 11],
        builders: [0; 9],
        free_bytes: 412 << 30,
        floor_bytes: 10 << 30,
        blocked: Line::default(),
        idle: Line::default(),
        rpms: 0,
        ends_in_s: 0,
        thin: Line::default(),
    };
    Farm { row, builds: Vec::new(), builders: Vec::new() }
}

fn package(name: &str, state: PackageState) -> PackageRow {
    PackageRow {
        srpm: file(&format!("{name}-1.0-1.src.rpm")),
        nevr: Line::default(),
        state,
        why: Line::default(),
        age_s: 720,
        size: 0,
        priority: 0,
        charged: 0,
        lease: None,
        builder: None,
        phase: None,
        phase_age_s: 0,
        line: Line::default(),
        place: Line::default(),
        expected_s: 0,
        widened: 0,
    }
}

fn build(name: &str, on: &str, age_s: u32, expected_s: u32, line: &str) -> PackageRow {
    PackageRow {
        age_s,
        expected_s,
        lease: Some(LEASE),
        builder: Some(file(on)),
        phase: Some(Phase::Build),
        line: Line::lossy(line),
        ..package(name, PackageState::Building)
    }
}

fn builder(name: &str, state: BuilderState, why: &str) -> BuilderRow {
    BuilderRow {
        name: Line::lossy(name),
        key: PublicKey([1; 32]),
        peer: Line::default(),
        state,
        why: Line::lossy(why),
        until_s: 0,
        age_s: 4_000,
        arch: Line::default(),
        version: Line::default(),
        cfg: Line::default(),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        health: Health::default(),
        srpm: None,
        phase: None,
        faults: 0,
        built: 0,
        failed: 0,
        suspect: Line::default(),
    }
}

fn result(seq: u64, name: &str, verdict: Verdict, text: &str) -> EventRow {
    EventRow {
        seq,
        unix_ms: (NOW - 600 + seq) * 1_000,
        kind: EventKind::Ended,
        srpm: Some(file(&format!("{name}-1.0-1.src.rpm"))),
        lease: Some(LEASE),
        builder: Some(file("board3")),
        verdict: Some(verdict),
        phase: None,
        state: None,
        who: Line::default(),
        text: Line::lossy(text),
    }
}

/// A farm with something of everything.
fn busy() -> Model {
    let mut model = Model::new("hub.example:6789".to_owned());
    let mut farm = farm();
    farm.row.packages = [1_203, 34, 0, 0, 3, 3_120, 17, 40, 5, 0, 0];
    farm.row.builders = [1, 3, 0, 2, 1, 0, 0, 1, 0];
    farm.row.ends_in_s = 12_059;
    farm.builds = vec![
        build("bash", "board12", 45, 900, ""),
        build("zlib", "board7", 720, 960, "gcc -O2 -g -c -o adler32.o adler32.c -DHAVE_HIDDEN"),
        build("texlive-collection-latexrecommended", "board9", 11_100, 7_200, "Installing  : perl-libs"),
    ];
    farm.builders = vec![
        builder("board1", BuilderState::Drained, "drained by an operator"),
        builder("board4", BuilderState::Away, ""),
        builder("board3", BuilderState::Quarantined, "3 times infra or lost in a row"),
    ];
    farm.builders[2].until_s = 2_700;
    model.farm_is(farm);
    model.event(result(1, "hello", Verdict::Success, ""));
    model.event(result(2, "dropbear", Verdict::Failed, "%build failed: main.c:114:9: error: no strlcpy"));
    model
}

fn drawn(look: &Look, model: &Model, ui: &mut Ui, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(look, model, ui, frame.buffer_mut())).unwrap();
    text(terminal.backend().buffer())
}

#[track_caller]
fn check(got: &str, want: &str) {
    let want = want.strip_prefix('\n').unwrap_or(want);
    assert!(got == want, "got\n{got}---\nwant\n{want}---\n{got:?}");
}

#[test]
fn all_that_matters_fits_a_terminal_of_80_by_24() {
    let got = drawn(&look(), &busy(), &mut Ui::default(), 80, 24);
    check(
        &got,
        r"
moji 0.1.0 hub.example:6789  armv5tel, up 3 d 4 h                       19:31:05
███████████████████████████████████████████████████████▒▓░░░░░░░░░░░░░░░░░░░░·x-
█ 3120 success 70%  ▒ 5 review  ▓ 3 building  ░ 1203 waiting 27%  · 34 deps
x 17 failed  - 40 excluded
3120 of 4382 built (71%), ends in about 3 h 20 m, at 22:52  3 of 8 builders busy
TROUBLE
board3   quarantined  3 times infra or lost in a row, ends in 45 m
board4   away         for 1 h 06 m
review                5 packages built, and wait for moji accept or moji refuse
deps                  34 packages held: what they need is not published (p list…
BUILDING            BUILDER  PHASE   ELAPSED        OF          LAST LINE
texlive-c…ed-1.0-1  board9   build  3 h 05 m  2 h 00 m  ━━━━━━  Installing  : p…
zlib-1.0-1          board7   build      12 m      16 m  ━━━━──  gcc -O2 -g -c -…
bash-1.0-1          board12  build      45 s      15 m  ──────
LAST RESULTS    VERDICT  BUILDER  AT        WHY
dropbear-1.0-1  failed   board3   19:21:07  %build failed: main.c:114:9: error:…
hello-1.0-1     success  board3   19:21:06






q quit  ? help  Tab pane  Enter why  l log  p packages  / filter  space pause
",
    );
}

#[test]
fn a_large_terminal_shows_more_of_each_line() {
    let got = drawn(&look(), &busy(), &mut Ui::default(), 120, 40);
    check(
        &got,
        r"
moji 0.1.0 hub.example:6789  armv5tel, up 3 d 4 h                                                               19:31:05
███████████████████████████████████████████████████████████████████████████████████▒▓░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░·x--
█ 3120 success 70%  ▒ 5 review  ▓ 3 building  ░ 1203 waiting 27%  · 34 deps  x 17 failed  - 40 excluded
3120 of 4382 built (71%), ends in about 3 h 20 m, at 22:52                                  3 of 8 builders busy, 1 idle
TROUBLE
board3   quarantined  3 times infra or lost in a row, ends in 45 m
board4   away         for 1 h 06 m
review                5 packages built, and wait for moji accept or moji refuse
deps                  34 packages held: what they need is not published (p lists them, moji blocked says what)
BUILDING                                   BUILDER  PHASE   ELAPSED        OF          LAST LINE
texlive-collection-latexrecommended-1.0-1  board9   build  3 h 05 m  2 h 00 m  ━━━━━━  Installing  : perl-libs
zlib-1.0-1                                 board7   build      12 m      16 m  ━━━━──  gcc -O2 -g -c -o adler32.o adler…
bash-1.0-1                                 board12  build      45 s      15 m  ──────
LAST RESULTS    VERDICT  BUILDER  AT        WHY
dropbear-1.0-1  failed   board3   19:21:07  %build failed: main.c:114:9: error: no strlcpy
hello-1.0-1     success  board3   19:21:06























q quit  ? help  Tab pane  Enter why  l log  p packages  / filter  space pause
",
    );
}

#[test]
fn a_small_terminal_keeps_what_matters_most() {
    let got = drawn(&look(), &busy(), &mut Ui::default(), 50, 15);
    check(
        &got,
        r"
moji 0.1.0 hub.example:6789               19:31:05
█████████████████████████████████▒▓░░░░░░░░░░░░·x-
3120 of 4382 built (71%), ends at 22:52
TROUBLE (4)
board3       quarantined  3 times infra or lost i…
board4       away         for 1 h 06 m
BUILDING        BUILDER  PHASE   ELAPSED        OF
texlive…-1.0-1  board9   build  3 h 05 m  2 h 00 m
zlib-1.0-1      board7   build      12 m      16 m
bash-1.0-1      board12  build      45 s      15 m
LAST RESULTS    VERDICT  BUILDER  AT
dropbear-1.0-1  failed   board3   19:21:07
hello-1.0-1     success  board3   19:21:06

q quit  ? help  Tab pane  Enter why  l log
",
    );
}

#[test]
fn a_farm_that_has_nothing_says_so() {
    let mut model = Model::new("hub".to_owned());
    assert!(drawn(&look(), &model, &mut Ui::default(), 80, 24).contains("waits for the hub's first answer"));
    model.farm_is(farm());
    check(
        &drawn(&look(), &model, &mut Ui::default(), 80, 10),
        r"
moji 0.1.0 hub  armv5tel, up 3 d 4 h                                    19:31:05
no package is here yet                                      0 of 0 builders busy
BUILDING
LAST RESULTS





q quit  ? help  Tab pane  Enter why  l log  p packages  / filter  space pause
",
    );
}

#[test]
fn a_hub_that_is_away_leaves_the_last_screen_and_says_since_when() {
    let mut model = busy();
    model.is_away(NOW - 10, "the hub hub.example:6789 closed the connection".to_owned());
    model.is_away(NOW, "cannot connect".to_owned());
    let got = drawn(&look(), &model, &mut Ui::default(), 80, 24);
    assert!(got.contains("hub away since 19:30:55  cannot connect"), "{got}");
    assert!(got.contains("zlib-1.0-1"), "{got}");
    model.farm_is(farm());
    assert!(!drawn(&look(), &model, &mut Ui::default(), 80, 24).contains("away"));
}

#[test]
fn no_text_moves_the_cursor_or_breaks_a_row_whatever_the_size() {
    let mut model = busy();
    let evil = "<b>x</b> \u{202e}gnp.exe \u{2066}\u{200d} 包包包包 \u{1f469}\u{200d}\u{1f52c} e\u{301} &amp; \u{9b}31m";
    let long = evil.repeat(20);
    let farm = model.farm.as_mut().unwrap();
    farm.row.blocked = Line::lossy(&long);
    farm.row.idle = Line::lossy(evil);
    farm.builds[0].line = Line::lossy(&long);
    farm.builds[1].srpm = file("\u{202e}包包包包包包包包包包包包包包包包包包包包-1-1.src.rpm");
    farm.builders[1].name = Line::lossy(&long);
    model.event(result(9, "包", Verdict::Lost, &long));
    let pages = || {
        let mut log = Ui::default();
        log.press(Key::Char('l'), &model, NOW);
        let bytes = format!("\x1b[2J\x1b]0;x\x07{long}\n\ttab\r\u{8}back\n").into_bytes();
        log.row(Ticket(1), ToOperator::Log { offset: 0, bytes: moji_proto::Bytes(bytes) });
        let mut why = Ui::default();
        why.press(Key::Enter, &model, NOW);
        why.row(Ticket(1), ToOperator::Package(model.farm.as_ref().unwrap().builds[0].clone()));
        why.row(Ticket(1), ToOperator::Text { topic: Topic::Why, line: Line::lossy(&long) });
        let mut trouble = Ui::default();
        trouble.pane = Pane::Trouble;
        trouble.press(Key::Enter, &model, NOW);
        let mut help = Ui::default();
        help.press(Key::Char('?'), &model, NOW);
        let mut typing = Ui::default();
        (typing.is_typing, typing.is_paused, typing.filter) = (true, true, long.clone());
        typing.press(Key::Char('\u{202e}'), &model, NOW);
        [Ui::default(), log, why, trouble, help, typing]
    };
    for (width, height) in [(80, 24), (120, 40), (50, 15), (20, 5), (9, 3), (2, 2), (1, 1), (200, 1), (1, 60)]
    {
        for mut ui in pages() {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(&look(), &model, &mut ui, frame.buffer_mut())).unwrap();
            for cell in terminal.backend().buffer().content() {
                let is_bad = |c: char| {
                    c.is_control()
                        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                };
                assert!(!cell.symbol().contains(is_bad), "{:?} at {width}x{height}", cell.symbol());
            }
        }
    }
}

#[test]
fn every_size_can_be_drawn() {
    let model = busy();
    for width in 1..140 {
        for height in [1, 2, 3, 4, 5, 9, 10, 15, 18, 24, 60] {
            let plain = page(&Look { is_live: false, ..look() }, &model, width, height);
            assert!(plain.lines().count() <= usize::from(height), "{plain}");
            drawn(&look(), &model, &mut Ui::default(), width, height);
        }
    }
}

#[test]
fn ten_thousand_packages_are_a_list_like_others() {
    let mut model = busy();
    let names = |n: u32| format!("package{n:05}");
    let farm = model.farm.as_mut().unwrap();
    farm.builds = (0..10_000).map(|n| build(&names(n), "b", n, 0, "")).collect();
    (10..11_000).for_each(|seq| model.event(result(seq, &names(seq as u32), Verdict::Success, "")));
    assert_eq!(model.results.len(), RESULTS_MAX);
    let mut ui = Ui::default();
    assert_eq!(
        ui.press(Key::Char('p'), &model, NOW),
        [Wish::Ask(Ticket(1), FromOperator::List { pattern: Line::default(), state: None })]
    );
    for n in 0..10_000 {
        ui.row(Ticket(1), ToOperator::Package(package(&names(n), PackageState::Waiting)));
    }
    assert!(drawn(&look(), &model, &mut ui, 80, 24).contains("all packages: …"), "not before it is whole");
    ui.end(Ticket(1), None);
    assert!(drawn(&look(), &model, &mut ui, 80, 24).contains("all packages: 10000"));
    ui.press(Key::End, &model, NOW);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("package09999") && !got.contains("package00000"), "{got}");
    ui.press(Key::PageUp, &model, NOW);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("package09984") && got.contains("package09999"), "{got}");
    ui.press(Key::PageUp, &model, NOW);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("package09969") && !got.contains("package09999"), "{got}");
    // Only those with these letters, here and in the overview.
    ui.press(Key::Char('/'), &model, NOW);
    "E0123".chars().for_each(|letter| drop(ui.press(Key::Char(letter), &model, NOW)));
    ui.press(Key::Enter, &model, NOW);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("all packages: 10\n") || got.contains("all packages: 10 "), "{got}");
    assert!(got.contains("package01239") && !got.contains("package00001"), "{got}");
    ui.press(Key::Escape, &model, NOW);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("package01234") && !got.contains("package00001"), "{got}");
    ui.press(Key::Escape, &model, NOW);
    assert!(drawn(&look(), &model, &mut ui, 80, 24).contains("BUILDING (10000)"));
}

#[test]
fn states_are_turned_through_and_answers_to_old_questions_dropped() {
    let model = busy();
    let mut ui = Ui::default();
    ui.press(Key::Char('p'), &model, NOW);
    assert_eq!(ui.refresh(), [], "one question at a time");
    let ask = |ticket, state| {
        Wish::Ask(Ticket(ticket), FromOperator::List { pattern: Line::default(), state: Some(state) })
    };
    let wishes = ui.press(Key::Right, &model, NOW);
    assert_eq!(wishes, [Wish::Drop(Ticket(1)), ask(2, PackageState::Success)]);
    ui.row(Ticket(1), ToOperator::Package(package("old", PackageState::Waiting)));
    ui.row(Ticket(2), ToOperator::Package(package("new", PackageState::Success)));
    ui.end(Ticket(1), None);
    ui.end(Ticket(2), None);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("success: 1") && got.contains("new-1.0-1") && !got.contains("old"), "{got}");
    // It is asked for again; what was there stays meanwhile, and if the hub is away.
    assert_eq!(ui.refresh(), [ask(3, PackageState::Success)]);
    ui.end(Ticket(3), Some("away".to_owned()));
    assert!(drawn(&look(), &model, &mut ui, 80, 24).contains("new-1.0-1"));
    assert_eq!(ui.press(Key::Left, &model, NOW).len(), 1);
    let Some(Page::Packages(packages)) = ui.pages.last() else { panic!("{ui:?}") };
    assert_eq!(packages.state, None);
    assert_eq!(ui.press(Key::Escape, &model, NOW), [Wish::Drop(Ticket(4))]);
    assert!(ui.pages.is_empty());
}

#[test]
fn enter_asks_why_and_l_follows_the_log_of_the_chosen_package() {
    let model = busy();
    let mut ui = Ui::default();
    drawn(&look(), &model, &mut ui, 80, 24);
    // The longest build is first.
    ui.press(Key::Down, &model, NOW);
    let package = Line::lossy("zlib-1.0-1.src.rpm");
    assert_eq!(ui.press(Key::Enter, &model, NOW), [Wish::Ask(Ticket(1), FromOperator::Why { package })]);
    ui.row(Ticket(1), ToOperator::Package(model.farm.as_ref().unwrap().builds[1].clone()));
    ui.row(Ticket(1), ToOperator::Text { topic: Topic::Next, line: Line::lossy("it ends some day") });
    ui.end(Ticket(1), None);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    for part in
        ["WHY", "zlib-1.0-1", "being built on board7, build for 0 s, 12 m of about 16 m", "it ends some day"]
    {
        assert!(got.contains(part), "'{part}' in\n{got}");
    }
    let wishes = ui.press(Key::Char('l'), &model, NOW);
    assert!(
        matches!(&wishes[..], [Wish::Ask(Ticket(2), FromOperator::Log { follow: true, .. })]),
        "{wishes:?}"
    );
    let log = |from: u32, to: u32| {
        let text: String = (from..to).map(|n| format!("line {n}\n")).collect();
        ToOperator::Log { offset: 0, bytes: moji_proto::Bytes(text.into_bytes()) }
    };
    let logof = ToOperator::LogOf { srpm: file("zlib-1.0-1.src.rpm"), attempt: 2, lease: LEASE, live: true };
    ui.row(Ticket(2), logof);
    ui.row(Ticket(2), log(0, 100));
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("build.log of zlib-1.0-1, attempt 2, grows"), "{got}");
    assert!(got.contains("line 99\n") && !got.contains("line 50\n"), "{got}");
    ui.row(Ticket(2), log(100, 120));
    assert!(drawn(&look(), &model, &mut ui, 80, 24).contains("line 119\n"), "it goes on");
    ui.press(Key::PageUp, &model, NOW);
    drawn(&look(), &model, &mut ui, 80, 24);
    ui.row(Ticket(2), log(120, 9_000));
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(!got.contains("line 8999\n"), "who reads is not carried on:\n{got}");
    ui.press(Key::Char('f'), &model, NOW);
    ui.row(Ticket(2), ToOperator::LogEnd { verdict: Some(Verdict::Success), reason: Line::default() });
    ui.end(Ticket(2), None);
    let got = drawn(&look(), &model, &mut ui, 80, 24);
    assert!(got.contains("line 8999\n") && got.contains("success"), "{got}");
    assert_eq!(ui.press(Key::Escape, &model, NOW), [Wish::Drop(Ticket(2))]);
    assert_eq!(ui.press(Key::Escape, &model, NOW), [Wish::Drop(Ticket(1))]);
    assert_eq!(ui.press(Key::Char('q'), &model, NOW), [Wish::Quit]);
    assert_eq!(ui.press(Key::Interrupt, &model, NOW), [Wish::Quit]);
}

#[test]
fn tab_goes_round_and_leaves_out_what_is_not_there() {
    let model = busy();
    let mut ui = Ui::default();
    let round = |ui: &mut Ui, model: &Model, key| -> Vec<Pane> {
        (0..3)
            .map(|_| {
                ui.press(key, model, NOW);
                ui.pane
            })
            .collect()
    };
    assert_eq!(round(&mut ui, &model, Key::Tab), [Pane::Results, Pane::Trouble, Pane::Builds]);
    assert_eq!(round(&mut ui, &model, Key::BackTab), [Pane::Trouble, Pane::Results, Pane::Builds]);
    let mut calm = Model::new("hub".to_owned());
    calm.farm_is(farm());
    assert_eq!(round(&mut ui, &calm, Key::Tab), [Pane::Results, Pane::Builds, Pane::Results]);
    // Trouble that goes away takes nobody with it.
    ui.pane = Pane::Trouble;
    drawn(&look(), &calm, &mut ui, 80, 24);
    assert_eq!(ui.pane, Pane::Builds);
}

#[test]
fn without_colours_there_are_none() {
    let colours = |look: &Look| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(look, &busy(), &mut Ui::default(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer().clone();
        buffer.content().iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colours(&look()) > 80);
    assert_eq!(colours(&Look { colour: false, ..look() }), 0);
}

#[test]
fn a_result_is_kept_once_and_nothing_else_is() {
    let mut model = busy();
    model.event(result(2, "dropbear", Verdict::Failed, "told again after a reconnect"));
    model.event(EventRow { kind: EventKind::Leased, ..result(3, "bash", Verdict::Success, "") });
    let seqs: Vec<u64> = model.results.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [2, 1]);
}

#[test]
fn what_is_wrong_comes_in_the_order_of_how_bad_it_is() {
    let mut model = busy();
    let farm = model.farm.as_mut().unwrap();
    farm.row.blocked = Line::lossy("a canary is out");
    farm.row.free_bytes = 9 << 30;
    farm.row.unix_s += 7_200;
    let what: Vec<String> = model.trouble(NOW).into_iter().map(|trouble| trouble.what).collect();
    assert_eq!(what, ["blocked", "space", "board3", "board4", "review", "deps", "clock"]);
}
