//! The farms that the screens are of.

use moji_proto::message::Trouble;

use super::*;

pub(super) fn calm(style: &Style) -> String {
    let mut farm = farm();
    farm.packages[PackageState::Building as usize] = 2;
    farm.packages[PackageState::Waiting as usize] = 1_203;
    farm.packages[PackageState::Success as usize] = 3_120;
    farm.builders[BuilderState::Busy as usize] = 2;
    farm.ends_in_s = 12_059;
    let mut builds = [
        building(
            "zlib-1.3-1",
            "board7",
            Phase::Build,
            720,
            "gcc -O2 -g -c -o adler32.o adler32.c -DHAVE_HIDDEN",
        ),
        building(
            "texlive-collection-latexrecommended-svn54074-57",
            "board12",
            Phase::Setup,
            11_100,
            "Installing  : perl-libs",
        ),
    ];
    builds[0].expected_s = 960;
    status(style, &farm, &builds, &[])
}

pub(super) fn trouble(style: &Style) -> String {
    let mut farm = farm();
    farm.unix_s += 7_200;
    farm.packages = [12, 34, 1, 2, 3, 3_120, 17, 40, 5, 6, 7];
    farm.builders = [1, 3, 1, 2, 1, 1, 1, 4, 1];
    farm.free_bytes = 9 << 30;
    farm.blocked = line("nothing is leased: 9.0 GiB are free in /srv/moji, 10 GiB must be");
    farm.idle = line("leasing is blocked");
    let mut quarantined = builder("board3", BuilderState::Quarantined);
    quarantined.why = line("5 packages in a row ended infra or lost");
    quarantined.until_s = 2_700;
    let mut away = builder("board4", BuilderState::Away);
    away.why = line("no heartbeat for 60 s");
    let builds = [building("bash-5.2-1", "board7", Phase::Upload, 45, "")];
    status(style, &farm, &builds, &[quarantined, away])
}

pub(super) fn listed() -> Vec<PackageRow> {
    let mut deps = package("usefoo-1.0-1", PackageState::Deps);
    deps.why = line("waits for pkgconfig(libfoo) >= 1.2 and 3 more");
    deps.priority = 3;
    let mut failed = package("failbuild-1.0-1", PackageState::Failed);
    failed.why = line("exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi (%build)");
    failed.builder = Some(file("board12"));
    vec![
        building("zlib-1.3-1", "board7", Phase::Build, 720, "gcc"),
        package("bash-5.2-1", PackageState::Waiting),
        deps,
        failed,
        package("hello-2.12-1", PackageState::Success),
    ]
}

pub(super) fn all_builders() -> Vec<BuilderRow> {
    let mut busy = builder("board7", BuilderState::Busy);
    busy.srpm = Some(file("zlib-1.3-1.src.rpm"));
    busy.phase = Some(Phase::Build);
    (busy.built, busy.failed) = (311, 4);
    let mut quarantined = builder("board3", BuilderState::Quarantined);
    quarantined.why = line("5 packages in a row ended infra or lost");
    quarantined.until_s = 2_700;
    quarantined.faults = 5;
    let mut troubled = builder("board12.rack4.example", BuilderState::Troubled);
    troubled.health.trouble = Some(Trouble::Disk);
    troubled.health.disk_free_mib = 12;
    let mut unlisted = builder("192.0.2.99", BuilderState::Unlisted);
    (unlisted.arch, unlisted.version, unlisted.cfg) = (line(""), line(""), line(""));
    unlisted.why = line("not in the list of builders");
    unlisted.age_s = 30;
    vec![busy, quarantined, troubled, unlisted]
}

pub(super) fn shown(style: &Style) -> String {
    let mut row = package("failbuild-1.0-1", PackageState::Failed);
    row.nevr = line("failbuild-1:1.0-1");
    row.why = line("exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi (%build)");
    row.size = 1_258_291;
    row.priority = 3;
    row.charged = 1;
    row.place = line("failbuild-1.0-1");
    let texts = [
        text(Topic::Option, "--without tests"),
        text(Topic::Option, "--nocheck"),
        text(Topic::File, "failbuild-1.0-1/build.log.gz"),
    ];
    let mut lost = attempt(1, Some(Verdict::Lost));
    lost.charged = false;
    lost.reason = line("no heartbeat for 60 s");
    lost.seconds = 0;
    let mut failed = attempt(2, Some(Verdict::Failed));
    failed.reason = line("exit 1: error: Bad exit status from /var/tmp/rpm-tmp.KhOZmi (%build)");
    failed.place = line("repo/failbuild-1.0-1");
    let mut running = attempt(3, None);
    (running.ended_unix_s, running.seconds) = (0, 0);
    let attempts = [
        Attempt { row: lost, texts: vec![] },
        Attempt {
            row: failed,
            texts: vec![
                text(
                    Topic::Evidence,
                    "build.log: main.c:3:10: fatal error: foo.h: No such file or directory, compilation terminated",
                ),
                text(Topic::Evidence, "build.log: make: *** [Makefile:7: main.o] Error 1"),
                text(
                    Topic::Provenance,
                    "board7 (8ec57cd48c260ac2), mock fedora-arm, largest process 112 MiB",
                ),
            ],
        },
        Attempt { row: running, texts: vec![] },
    ];
    show(style, &row, &texts, &attempts)
}

pub(super) fn events() -> Vec<EventRow> {
    let srpm = Some(file("zlib-1.3-1.src.rpm"));
    let on = Some(file("board7"));
    let mut leased = event_row(EventKind::Leased);
    (leased.srpm, leased.builder, leased.state) = (srpm.clone(), on.clone(), Some(PackageState::Building));
    let mut ended = event_row(EventKind::Ended);
    (ended.srpm, ended.builder, ended.verdict) = (srpm.clone(), on.clone(), Some(Verdict::Deps));
    (ended.state, ended.text) = (Some(PackageState::Deps), line("waits for pkga(api) >= 1"));
    let mut phase = event_row(EventKind::Phase);
    (phase.srpm, phase.builder, phase.phase) = (srpm.clone(), on.clone(), Some(Phase::Build));
    let mut down = event_row(EventKind::BuilderDown);
    (down.builder, down.text) = (on, line("no heartbeat for 60 s"));
    let mut ordered = event_row(EventKind::Ordered);
    (ordered.srpm, ordered.text, ordered.who) = (srpm, line("cancel"), line("root@hub (127.0.0.1)"));
    let mut lost = event_row(EventKind::Ended);
    (lost.srpm, lost.verdict, lost.state) =
        (leased.srpm.clone(), Some(Verdict::Lost), Some(PackageState::Waiting));
    vec![leased, phase, ended, lost, down, ordered]
}
