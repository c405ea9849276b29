//! Units, times, single lines, and what may reach a terminal.

use moji_proto::message::{NoCode, Which};

use super::*;

#[test]
fn durations_show_their_two_largest_units() {
    for (seconds, want) in [
        (0, "0 s"),
        (45, "45 s"),
        (59, "59 s"),
        (60, "1 m"),
        (720, "12 m"),
        (3_599, "59 m"),
        (3_600, "1 h 00 m"),
        (11_100, "3 h 05 m"),
        (86_399, "23 h 59 m"),
        (187_200, "2 d 4 h"),
        (u64::MAX, "213503982334601 d 7 h"),
    ] {
        assert_eq!(duration(seconds), want);
    }
}

#[test]
fn sizes_are_never_more_than_there_is() {
    for (bytes, want) in [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (1_535, "1.4 KiB"),
        (10_239, "9.9 KiB"),
        (10_240, "10 KiB"),
        ((1 << 20) - 1, "1023 KiB"),
        (1 << 20, "1.0 MiB"),
        (412 << 30, "412 GiB"),
        (u64::MAX, "15 EiB"),
    ] {
        assert_eq!(size(bytes), want);
    }
}

#[test]
fn times_are_local_on_screens_and_utc_for_programs() {
    let summer = 1_783_108_800; // 2026-07-03 20:00:00 UTC
    for (tz, unix_s, want) in [
        ("CET-1CEST,M3.5.0,M10.5.0/3", NOW, "2026-11-22 20:31:05"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", summer, "2026-07-03 22:00:00"),
        ("EST5", NOW, "2026-11-22 14:31:05"),
        ("", NOW, "2026-11-22 19:31:05"),
        ("no such/zone", NOW, "2026-11-22 19:31:05"),
        ("EST5", 0, "1970-01-01 00:00:00"),
        ("CET-1", u64::MAX, "9999-12-31 23:59:59"),
    ] {
        let style = Style { zone: Zone::of_machine(Some(tz)), ..terminal() };
        assert_eq!(local_time(&style, unix_s), want, "{tz}");
    }
    assert_eq!(iso(NOW), "2026-11-22T19:31:05Z");
}

#[test]
fn what_moves_a_cursor_or_hides_is_written_out() {
    for (text, want) in [
        ("zlib-1.3-1", "zlib-1.3-1"),
        ("\x1b[31mred\x07\0\x7f", "^[[31mred^G^@^?"),
        ("a\nb\tc\rd", "a^Jb^Ic^Md"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
        ("zl\u{200b}ib\u{feff}", "zl\\u{200b}ib\\u{feff}"),
        ("\u{2028}", "\\u{2028}"),
        ("\u{e0041}", "\\u{e0041}"),
        ("Grüße 漢字 e\u{301}", "Grüße 漢字 e\u{301}"),
    ] {
        assert_eq!(safe(text), want);
    }
    for (text, want) in [("abc", 3), ("漢字", 4), ("e\u{301}", 1), ("…", 1), ("", 0)] {
        assert_eq!(columns(text), want, "{text}");
    }
}

#[test]
fn a_log_is_made_safe_wherever_it_is_cut_into_pieces() {
    let log = "\tgcc ‘foo’ 漢\r\n\x1b[2Jgone\u{202e}\n".as_bytes();
    let log = [log, b"\xff latin \xe9t\xe9 \xf0\x9f"].concat();
    let want = "\tgcc ‘foo’ 漢^M\n^[[2Jgone\\u{202e}\n\\x{ff} latin \\x{e9}t\\x{e9} \\x{f0}\\x{9f}";
    for cut in 0..=log.len() {
        let mut safe = SafeLog::default();
        let got = [safe.push(&log[..cut]), safe.push(&log[cut..]), safe.finish()].concat();
        assert_eq!(got, want, "cut at {cut}");
        assert_eq!(safe.finish(), "");
    }
    // A character is printed as soon as it is whole.
    let mut safe = SafeLog::default();
    let got: Vec<String> = "a…b".bytes().map(|byte| safe.push(&[byte])).collect();
    assert_eq!(got, ["a", "", "", "…", "b"]);
}

#[test]
fn a_bar_fills_the_line_and_leaves_the_numbers() {
    let at = |done, rate| progress(&terminal(), "zlib-1.3-1.src.rpm", done, 40 << 20, rate);
    check(&at(0, 0), "zlib-1.3-1  [---------------------------------------------]   0 %  0 B of 40 MiB");
    check(
        &at(12 << 20, 1_300_000),
        "zlib-1.3-1  [######--------------]  30 %  12 MiB of 40 MiB  1.2 MiB/s  23 s left",
    );
    check(
        &at(40 << 20, 1_300_000),
        "zlib-1.3-1  [###############################] 100 %  40 MiB of 40 MiB  1.2 MiB/s",
    );
    let narrow = Style { width: Some(35), ..terminal() };
    check(&progress(&narrow, "zlib-1.3-1", 1, 0, 0), "zlib-1.3-1  100 %  0 B of 0 B");
}

#[test]
fn answers_are_one_line_and_say_what_was_meant() {
    let style = terminal();
    check(&changed(&style, &line("zlib-1.3-1.src.rpm"), &line("waits again")), "zlib-1.3-1: waits again\n");
    check(&changed(&style, &line(""), &line("done")), "done\n");
    let say = |code, target, text, names: &[&str]| {
        let names: Vec<Line> = names.iter().map(|name| line(name)).collect();
        no(&style, code, &line(target), &line(text), &names)
    };
    check(
        &say(NoCode::NotFound, "zlb", "", &["zlib-1.3-1", "zlib-ng-2.1-4"]),
        "
moji: zlb: there is nothing of that name
  did you mean:
    zlib-1.3-1
    zlib-ng-2.1-4
",
    );
    check(
        &say(NoCode::Ambiguous, "zlib", "fits 2 packages", &["zlib-1.3-1", "zlib-1.4-1"]),
        "
moji: zlib: fits 2 packages
  it could be:
    zlib-1.3-1
    zlib-1.4-1
",
    );
    check(
        &say(
            NoCode::Refused,
            "board9",
            "the hub has no list of builders: start it with --builders FILE and try again",
            &[],
        ),
        "
moji: board9: the hub has no list of builders: start it with --builders FILE and
      try again
",
    );
    let names = ["zlib"; 25];
    assert!(say(NoCode::Ambiguous, "z", "", &names).ends_with("    zlib\n    … 5 more\n"));
}

#[test]
fn a_log_begins_and_ends_with_a_word_about_it() {
    let (style, srpm) = (terminal(), file("zlib-1.3-1.src.rpm"));
    check(
        &log_of(&style, &srpm, Which::Root, 2, LEASE, true),
        "root.log of zlib-1.3-1, attempt 2, lease 1795370190-7, still growing\n",
    );
    check(&log_end(&style, &srpm, Some(Verdict::Failed), &line("exit 1")), "zlib-1.3-1: failed: exit 1\n");
    check(&log_end(&style, &srpm, None, &line("")), "zlib-1.3-1: ended\n");
}

#[test]
fn a_screen_fits_the_terminals_height() {
    check(&fit_height("a\nb\nc\n", 3), "a\nb\nc\n");
    check(&fit_height("a\nb\nc\n", 2), "a\n… 2 more lines\n");
    check(&fit_height("a\nb\nc\n", 0), "");
}

#[test]
fn what_a_thin_repository_lacked_is_told_where_it_did() {
    let farm = FarmRow { thin: line("gcc-13.2-1 (2), zlib-1.3-1 (1)"), ..farm() };
    let screen = status(&piped(), &farm, &[], &[]);
    assert!(screen.contains("\nthin      not enough for gcc-13.2-1 (2), zlib-1.3-1 (1)\n"), "{screen}");
    let row = PackageRow { widened: 2, ..package("gcc-13.2-1", PackageState::Waiting) };
    let screen = show(&piped(), &row, &[], &[]);
    assert!(screen.contains("its repository was not enough, 2 times"), "{screen}");
    let screen = show(&piped(), &package("gcc-13.2-1", PackageState::Waiting), &[], &[]);
    assert!(!screen.contains("thin"), "{screen}");
}
