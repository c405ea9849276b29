//! Whole screens, as they stand on a terminal.
//!
//! Colours are written as `<red>text</>`, as [`marked`] makes them.

use super::super::builder;
use super::scenes::{all_builders, calm, events, listed, shown, trouble};
use super::*;

#[test]
fn a_farm_that_is_well_is_a_calm_screen() {
    let got = calm(&terminal());
    check(
        &marked(&got),
        r"
moji 0.1.0, up 3 d 4 h, armv5tel, 12408 RPMs                 2026-11-22 20:31:05

packages  2 building, 1203 waiting, 3120 success
builders  2 busy
ends      in about 3 h 20 m, at 23:52
space     412 GiB free, nothing is leased below 10 GiB

PACKAGE                  BUILDER  PHASE   ELAPSED    OF  LAST LINE
zlib-1.3-1               board7   build      12 m  16 m  gcc -O2 -g -c -o adler…
texlive-col…svn54074-57  board12  setup  3 h 05 m        Installing  : perl-libs
",
    );
}

#[test]
fn trouble_stands_above_what_goes_on() {
    let got = trouble(&terminal());
    check(
        &marked(&got),
        r"
moji 0.1.0, up 3 d 4 h, armv5tel, 12408 RPMs                 2026-11-22 22:31:05
the hub's clock is 2 h 00 m ahead of this machine's

packages  3 building, 12 waiting, 34 deps, 5 review, 17 failed, 2 unusable,
          1 duplicate, 3120 success, 40 excluded, 6 cancelled, 7 finished
builders  3 busy, 1 idle, 1 quarantined, 1 troubled, 1 unlisted, 1 unfit,
          1 draining, 2 drained, 4 away
deps      moji blocked lists what is missing
space     9.0 GiB free: nothing is leased below 10 GiB
blocked   nothing is leased: 9.0 GiB are free in /srv/moji, 10 GiB must be
idle      leasing is blocked

ATTENTION  STATE            FOR  ENDS IN  WHY
board3     quarantined              45 m  5 packages in a row ended infra or lo…
board4     away         2 d 4 h           no heartbeat for 60 s

PACKAGE     BUILDER  PHASE   ELAPSED
bash-5.2-1  board7   upload     45 s
",
    );
}

#[test]
fn a_program_gets_whole_lines() {
    let got = calm(&piped());
    check(
        &marked(&got),
        r"
moji 0.1.0, up 3 d 4 h, armv5tel, 12408 RPMs  2026-11-22 20:31:05

packages  2 building, 1203 waiting, 3120 success
builders  2 busy
ends      in about 3 h 20 m, at 23:52
space     412 GiB free, nothing is leased below 10 GiB

PACKAGE                                          BUILDER  PHASE   ELAPSED    OF  LAST LINE
zlib-1.3-1                                       board7   build      12 m  16 m  gcc -O2 -g -c -o adler32.o adler32.c -DHAVE_HIDDEN
texlive-collection-latexrecommended-svn54074-57  board12  setup  3 h 05 m        Installing  : perl-libs
",
    );
}

#[test]
fn colour_is_where_something_is_said_with_it() {
    let got = trouble(&coloured());
    check(
        &marked(&got),
        r"
<bold>moji 0.1.0</>, up 3 d 4 h, armv5tel, 12408 RPMs                 2026-11-22 22:31:05
<yellow>the hub's clock is 2 h 00 m ahead of this machine's</>

<dim>packages</>  <cyan>3 building</>, 12 waiting, 34 deps, <yellow>5 review</>, <red>17 failed</>, <red>2 unusable</>,
          <yellow>1 duplicate</>, <green>3120 success</>, <dim>40 excluded</>, <dim>6 cancelled</>, <dim>7 finished</>
<dim>builders</>  <cyan>3 busy</>, 1 idle, <red>1 quarantined</>, <red>1 troubled</>, <yellow>1 unlisted</>, <yellow>1 unfit</>,
          <dim>1 draining</>, <dim>2 drained</>, <yellow>4 away</>
<dim>deps</>      moji blocked lists what is missing
<dim>space</>     <red>9.0 GiB free: nothing is leased below 10 GiB</>
<red>blocked</>   <red>nothing is leased: 9.0 GiB are free in /srv/moji, 10 GiB must be</>
<dim>idle</>      leasing is blocked

<dim>ATTENTION</>  <dim>STATE</>            <dim>FOR</>  <dim>ENDS IN</>  <dim>WHY</>
board3     <red>quarantined</>              45 m  5 packages in a row ended infra or lo…
board4     <yellow>away</>         2 d 4 h           no heartbeat for 60 s

<dim>PACKAGE</>     <dim>BUILDER</>  <dim>PHASE</>   <dim>ELAPSED</>
bash-5.2-1  board7   <cyan>upload</>     45 s
",
    );
}

#[test]
fn a_list_says_why_each_package_is_where_it_is() {
    let got = packages(&terminal(), &listed());
    check(
        &marked(&got),
        r"
PACKAGE          STATE          FOR  PRIO  BUILDER  WHY
zlib-1.3-1       building      12 m        board7   build for 6 m
bash-5.2-1       waiting   3 h 05 m
usefoo-1.0-1     deps      3 h 05 m     3           waits for pkgconfig(libfoo)…
failbuild-1.0-1  failed    3 h 05 m        board12  exit 1: error: Bad exit sta…
hello-2.12-1     success   3 h 05 m
",
    );
}

#[test]
fn a_list_for_programs_is_not_cut() {
    let got = packages(&piped(), &listed());
    check(
        &marked(&got),
        r"
PACKAGE          STATE          FOR  PRIO  BUILDER  WHY
zlib-1.3-1       building      12 m        board7   build for 6 m
bash-5.2-1       waiting   3 h 05 m
usefoo-1.0-1     deps      3 h 05 m     3           waits for pkgconfig(libfoo) >= 1.2 and 3 more
failbuild-1.0-1  failed    3 h 05 m        board12  exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi (%build)
hello-2.12-1     success   3 h 05 m
",
    );
}

#[test]
fn a_list_in_colour_paints_states_only() {
    let got = packages(&coloured(), &listed());
    check(
        &marked(&got),
        r"
<dim>PACKAGE</>          <dim>STATE</>          <dim>FOR</>  <dim>PRIO</>  <dim>BUILDER</>  <dim>WHY</>
zlib-1.3-1       <cyan>building</>      12 m        board7   build for 6 m
bash-5.2-1       waiting   3 h 05 m
usefoo-1.0-1     deps      3 h 05 m     3           waits for pkgconfig(libfoo)…
failbuild-1.0-1  <red>failed</>    3 h 05 m        board12  exit 1: error: Bad exit sta…
hello-2.12-1     <green>success</>   3 h 05 m
",
    );
}

#[test]
fn a_package_is_shown_with_all_its_attempts() {
    let got = shown(&terminal());
    check(
        &marked(&got),
        r"
failbuild-1.0-1
  state      failed
  since      2026-11-22 17:26:05, 3 h 05 m ago
  why        exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi
             (%build)
  srpm       failbuild-1.0-1.src.rpm, 1.1 MiB
  nevra      failbuild-1:1.0-1
  priority   line 3 of priority.txt
  charged    1 attempt
  options    --without tests
             --nocheck
  result     repo/failbuild-1.0-1
  files      failbuild-1.0-1/build.log.gz

attempt 1: lost on board7, not charged
  began      2026-11-22 18:31:05, took 12 m
  why        no heartbeat for 60 s
  lease      1795370190-7

attempt 2: failed on board7
  began      2026-11-22 18:31:05, took 12 m, mock 10 m
  why        exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi
             (%build)
  built by   board7 (8ec57cd48c260ac2), mock fedora-arm, largest process 112 MiB
  evidence   build.log: main.c:3:10: fatal error: foo.h: No such file or
             directory, compilation terminated
             build.log: make: *** [Makefile:7: main.o] Error 1
  logs       repo/failbuild-1.0-1
  lease      1795370190-7

attempt 3: running on board7
  began      2026-11-22 18:31:05, runs for 2 h 00 m
  lease      1795370190-7
",
    );
}

#[test]
fn a_package_is_shown_in_colour() {
    let got = shown(&coloured());
    check(
        &marked(&got),
        r"
<bold>failbuild-1.0-1</>
<dim>  state</>      <red>failed</>
<dim>  since</>      2026-11-22 17:26:05, 3 h 05 m ago
<dim>  why</>        exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi
             (%build)
<dim>  srpm</>       failbuild-1.0-1.src.rpm, 1.1 MiB
<dim>  nevra</>      failbuild-1:1.0-1
<dim>  priority</>   line 3 of priority.txt
<dim>  charged</>    1 attempt
<dim>  options</>    --without tests
             --nocheck
<dim>  result</>     repo/failbuild-1.0-1
<dim>  files</>      failbuild-1.0-1/build.log.gz

<bold>attempt 1: </><yellow>lost</> on board7, not charged
<dim>  began</>      2026-11-22 18:31:05, took 12 m
<dim>  why</>        no heartbeat for 60 s
<dim>  lease</>      1795370190-7

<bold>attempt 2: </><red>failed</> on board7
<dim>  began</>      2026-11-22 18:31:05, took 12 m, mock 10 m
<dim>  why</>        exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi
             (%build)
<dim>  built by</>   board7 (8ec57cd48c260ac2), mock fedora-arm, largest process 112 MiB
<dim>  evidence</>   build.log: main.c:3:10: fatal error: foo.h: No such file or
             directory, compilation terminated
             build.log: make: *** [Makefile:7: main.o] Error 1
<dim>  logs</>       repo/failbuild-1.0-1
<dim>  lease</>      1795370190-7

<bold>attempt 3: </><cyan>running</> on board7
<dim>  began</>      2026-11-22 18:31:05, runs for 2 h 00 m
<dim>  lease</>      1795370190-7
",
    );
}

#[test]
fn a_package_for_programs_is_not_wrapped() {
    let got = shown(&piped());
    check(
        &marked(&got),
        r"
failbuild-1.0-1
  state      failed
  since      2026-11-22 17:26:05, 3 h 05 m ago
  why        exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi (%build)
  srpm       failbuild-1.0-1.src.rpm, 1.1 MiB
  nevra      failbuild-1:1.0-1
  priority   line 3 of priority.txt
  charged    1 attempt
  options    --without tests
             --nocheck
  result     repo/failbuild-1.0-1
  files      failbuild-1.0-1/build.log.gz

attempt 1: lost on board7, not charged
  began      2026-11-22 18:31:05, took 12 m
  why        no heartbeat for 60 s
  lease      1795370190-7

attempt 2: failed on board7
  began      2026-11-22 18:31:05, took 12 m, mock 10 m
  why        exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi (%build)
  built by   board7 (8ec57cd48c260ac2), mock fedora-arm, largest process 112 MiB
  evidence   build.log: main.c:3:10: fatal error: foo.h: No such file or directory, compilation terminated
             build.log: make: *** [Makefile:7: main.o] Error 1
  logs       repo/failbuild-1.0-1
  lease      1795370190-7

attempt 3: running on board7
  began      2026-11-22 18:31:05, runs for 2 h 00 m
  lease      1795370190-7
",
    );
}

#[test]
fn builders_stand_in_a_table() {
    let got = builders(&terminal(), &all_builders());
    check(
        &marked(&got),
        r"
BUILDER          STATE            FOR     DISK  GOOD  BAD  DOES
board7           busy         2 d 4 h  5.0 GiB   311    4  build zlib-1.3-1
board3           quarantined  2 d 4 h  5.0 GiB             5 packages in a row…
board12…example  troubled     2 d 4 h   12 MiB             its disk is too full…
192.0.2.99       unlisted        30 s                      key abababababababab…
",
    );
}

#[test]
fn builders_for_programs_are_not_cut() {
    let got = builders(&piped(), &all_builders());
    check(
        &marked(&got),
        r"
BUILDER                STATE            FOR  ARCH         DISK  GOOD  BAD  DOES
board7                 busy         2 d 4 h  armv5tel  5.0 GiB   311    4  build zlib-1.3-1
board3                 quarantined  2 d 4 h  armv5tel  5.0 GiB             5 packages in a row ended infra or lost, for 45 m more
board12.rack4.example  troubled     2 d 4 h  armv5tel   12 MiB             its disk is too full for a build
192.0.2.99             unlisted        30 s                                key abababababababab, not in the list of builders
",
    );
}

#[test]
fn one_builder_is_shown_with_its_machine() {
    let got = all_builders().iter().map(|row| builder(&terminal(), row)).collect::<Vec<_>>().join("\n");
    check(
        &marked(&got),
        r"
board7
  state      busy
  builds     zlib-1.3-1, build
  connected  since 2026-11-20 16:31:05, 2 d 4 h
  from       192.0.2.7
  key        abababababababababababababababababababababababababababababababab
  arch       armv5tel
  moji       0.1.0
  builds by  mock, fedora-42-armv5tel
  machine    1 processor, 128 MiB of memory
  free       5.0 GiB of disk, 61 MiB of memory
  load       1.07
  hottest    54 °C
  clock      3 s behind the hub's
  history    311 built, 4 failed

board3
  state      quarantined: gets nothing
  why        5 packages in a row ended infra or lost, for 45 m more
  connected  since 2026-11-20 16:31:05, 2 d 4 h
  from       192.0.2.7
  key        abababababababababababababababababababababababababababababababab
  arch       armv5tel
  moji       0.1.0
  builds by  mock, fedora-42-armv5tel
  machine    1 processor, 128 MiB of memory
  free       5.0 GiB of disk, 61 MiB of memory
  load       1.07
  hottest    54 °C
  clock      3 s behind the hub's
  history    0 built, 0 failed, 5 infra or lost in a row

board12.rack4.example
  state      takes nothing, as it says itself
  why        its disk is too full for a build
  connected  since 2026-11-20 16:31:05, 2 d 4 h
  from       192.0.2.7
  key        abababababababababababababababababababababababababababababababab
  arch       armv5tel
  moji       0.1.0
  builds by  mock, fedora-42-armv5tel
  machine    1 processor, 128 MiB of memory
  free       12 MiB of disk, 61 MiB of memory
  load       1.07
  hottest    54 °C
  clock      3 s behind the hub's
  trouble    its disk is too full for a build
  history    0 built, 0 failed

192.0.2.99
  state      turned away: not in the list of builders
  why        not in the list of builders
  called     since 2026-11-22 20:30:35, 30 s
  from       192.0.2.7
  key        abababababababababababababababababababababababababababababababab
",
    );
}

#[test]
fn history_is_a_line_an_event() {
    let got = history(&terminal(), &events());
    check(
        &marked(&got),
        r"
2026-11-22 20:31:05  leased        zlib-1.3-1 on board7
2026-11-22 20:31:05  phase         zlib-1.3-1 on board7: build
2026-11-22 20:31:05  ended         zlib-1.3-1 on board7: deps: waits for pkga(a…
2026-11-22 20:31:05  ended         zlib-1.3-1: lost, now waiting
2026-11-22 20:31:05  builder-down  board7: no heartbeat for 60 s
2026-11-22 20:31:05  ordered       zlib-1.3-1: cancel (root@hub (127.0.0.1))
",
    );
}

#[test]
fn events_in_colour_paint_kind_and_verdict() {
    let got = history(&coloured(), &events());
    check(
        &marked(&got),
        r"
<dim>2026-11-22 20:31:05</>  <cyan>leased</>        zlib-1.3-1 on board7
<dim>2026-11-22 20:31:05</>  <dim>phase</>         zlib-1.3-1 on board7: build
<dim>2026-11-22 20:31:05</>  ended         zlib-1.3-1 on board7: deps: waits for pkga(a…
<dim>2026-11-22 20:31:05</>  ended         zlib-1.3-1: <yellow>lost</>, now waiting
<dim>2026-11-22 20:31:05</>  <yellow>builder-down</>  board7: no heartbeat for 60 s
<dim>2026-11-22 20:31:05</>  <bold>ordered</>       zlib-1.3-1: cancel<dim> (root@hub (127.0.0.1))</>
",
    );
}

/// Escape codes as words.
pub(super) fn marked(screen: &str) -> String {
    let codes = [
        ("0", "</>"),
        ("1", "<bold>"),
        ("2", "<dim>"),
        ("31", "<red>"),
        ("32", "<green>"),
        ("33", "<yellow>"),
        ("36", "<cyan>"),
    ];
    codes.iter().fold(screen.to_owned(), |text, (code, word)| text.replace(&format!("\x1b[{code}m"), word))
}

#[test]
fn an_empty_farm_says_so_and_empty_lists_are_empty() {
    let mut farm = farm();
    (farm.floor_bytes, farm.rpms, farm.up_s, farm.target) = (0, 1, 45, line(""));
    check(
        &status(&terminal(), &farm, &[], &[]),
        r"
moji 0.1.0, up 45 s, 1 RPM                                   2026-11-22 20:31:05

packages  none
builders  none
space     412 GiB free
",
    );
    check(&packages(&terminal(), &[]), "");
    check(&builders(&terminal(), &[]), "");
}

#[test]
fn space_is_coloured_when_it_comes_near_the_floor() {
    for (free_gib, want) in [
        (20, "<dim>space</>     20 GiB free, nothing is leased below 10 GiB"),
        (19, "<dim>space</>     <yellow>19 GiB free, nothing is leased below 10 GiB</>"),
        (10, "<dim>space</>     <yellow>10 GiB free, nothing is leased below 10 GiB</>"),
        (9, "<dim>space</>     <red>9.0 GiB free: nothing is leased below 10 GiB</>"),
    ] {
        let mut farm = farm();
        farm.free_bytes = free_gib << 30;
        let screen = marked(&status(&coloured(), &farm, &[], &[]));
        assert!(screen.lines().any(|line| line == want), "{screen}");
    }
}

#[test]
fn a_clock_that_is_off_is_told_either_way() {
    for (now, want) in [
        (NOW + 7_200, Some("the hub's clock is 2 h 00 m behind this machine's")),
        (NOW - 7_200, Some("the hub's clock is 2 h 00 m ahead of this machine's")),
        (NOW + 120, None),
    ] {
        let screen = status(&Style { now_unix_s: now, ..terminal() }, &farm(), &[], &[]);
        assert_eq!(screen.lines().find(|line| line.contains("clock")), want);
    }
}

#[test]
fn many_builders_in_need_do_not_push_builds_off_a_terminal() {
    let away: Vec<BuilderRow> =
        (0..20).map(|n| super::builder(&format!("board{n}"), BuilderState::Away)).collect();
    let screen = status(&terminal(), &farm(), &[], &away);
    assert!(screen.ends_with("board7     away   2 d 4 h\n… 12 more builders: moji builders\n"), "{screen}");
    let screen = status(&piped(), &farm(), &[], &away);
    assert!(screen.ends_with("board19    away   2 d 4 h\n"), "{screen}");
}

#[test]
fn architectures_stand_in_the_table_where_they_differ() {
    let mut other = super::builder("board9", BuilderState::Unfit);
    other.arch = line("armv7hl");
    check(
        &builders(&terminal(), &[super::builder("board7", BuilderState::Idle), other]),
        r"
BUILDER  STATE      FOR  ARCH         DISK
board7   idle   2 d 4 h  armv5tel  5.0 GiB
board9   unfit  2 d 4 h  armv7hl   5.0 GiB
",
    );
}
