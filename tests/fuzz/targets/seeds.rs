//! What each target starts from: small inputs that are good, and headers that are not.
//!
//! Owns seeds that can be computed; what was found or picked by hand is in `corpus/`. The same every time.

use moji_proto::Digest;
use moji_server::decision;
use moji_server::repodata::{
    About, Compression, Group, Part, decode_provided, describe, encode_piece, encode_provided,
};
use moji_server::result_json::{ResultFile, ResultJson};

use super::varied::Varied;

/// Longest package that is a seed, bytes: libFuzzer changes a few bytes at a time.
const PACKAGE_BYTES_MAX: usize = 6_000;
/// Packages that are looked at for seeds.
const PACKAGES: u64 = 60;
/// What makes counts, offsets and lengths go wrong.
const NUMBERS: [u32; 8] = [0, 1, 0x10, 0x00ff_ffff, 0x1000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

pub(crate) fn handshake() -> Vec<Vec<u8>> {
    let hello = b"moji\0\x01\0\x01\0\x01\0\0\0\0\0\0";
    let mut all =
        vec![[&[0, 0][..], hello].concat(), [&[0, 1][..], hello, &[7; 48]].concat(), vec![1, 0, 0, 0, 3]];
    all.extend((0..7).map(|stage| vec![stage, 0, 3, 0, 20, 1]));
    all.extend((2..5).map(|stage| vec![stage, 16, 0, 0, 63, 0, 1, 0, 9, 255]));
    all
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    (0..6).map(|n| vec![n % 2, [0, 1, 63][usize::from(n / 2)], n % 4, 0, 40 * n, 0x80, 3, 1, 44, 1]).collect()
}

/// The golden bytes of the messages whose name begins so.
fn golden(name: &str) -> Vec<Vec<u8>> {
    let pair = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("golden bytes are hex");
    let lines = include_str!("../../../proto/src/message/golden.txt").lines();
    let named = lines.filter_map(|line| line.split_once(' ')).filter(|(of, _)| *of == name);
    named.map(|(_, hex)| (0..hex.len()).step_by(2).map(|at| pair(hex, at)).collect()).collect()
}

pub(crate) fn builder() -> Vec<Vec<u8>> {
    let mut all = golden("FromBuilder");
    let said = |message: &Vec<u8>| match u8::try_from(message.len()) {
        Ok(len) => [&[len], &message[..]].concat(),
        Err(_) => Vec::new(),
    };
    all.push(all.iter().map(said).collect::<Vec<_>>().concat());
    all
}

pub(crate) fn hub() -> Vec<Vec<u8>> {
    [golden("ToBuilder"), golden("ToOperator")].concat()
}

pub(crate) fn operator() -> Vec<Vec<u8>> {
    golden("FromOperator")
}

/// Small packages of every shape.
fn packages() -> Vec<Vec<u8>> {
    let all = (0..PACKAGES).map(|seed| Varied::new(seed).bytes());
    all.filter(|bytes| bytes.len() <= PACKAGE_BYTES_MAX).collect()
}

pub(crate) fn headers() -> Vec<Vec<u8>> {
    [packages(), nasty()].concat()
}

pub(crate) fn package() -> Vec<Vec<u8>> {
    let main = |bytes: Vec<u8>| bytes[main_start(&bytes)..bytes.len() - b"noise".len()].to_vec();
    packages().into_iter().map(main).collect()
}

fn main_start(rpm: &[u8]) -> usize {
    let number = |at: usize| u32::from_be_bytes([rpm[at], rpm[at + 1], rpm[at + 2], rpm[at + 3]]) as usize;
    (96 + 16 + number(104) * 16 + number(108)).next_multiple_of(8)
}

/// Headers of some hundred bytes whose counts, offsets, types and lengths are wrong: such as make readers panic,
/// allocate gigabytes, or go on for ever.
pub(crate) fn nasty() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for number in NUMBERS {
        // What an intro says.
        all.push(file(&header(number, 16, &[[1000, 6, 0, 1]], b"a\0"), &[]));
        all.push(file(&header(1, number, &[[1000, 6, 0, 1]], b"a\0"), &[]));
        all.push(file(&plain(), &header(number, number, &[[1000, 6, 0, 1]], b"a\0")));
        // What an entry says, in the signature and in the main header.
        for entry in [[1000, 6, number, 1], [1000, 6, 0, number], [1000, number, 0, 1], [number, 6, 0, 1]] {
            all.push(file(&header(1, 16, &[entry], b"0123456789abcde\0"), &[]));
            all.push(file(&plain(), &header(1, 16, &[entry], b"0123456789abcde\0")));
        }
        for kind in [2, 3, 4, 5, 7, 8, 9] {
            all.push(file(&plain(), &header(1, 16, &[[1117, kind, 0, number]], b"0123456789abcde\0")));
            all.push(file(&plain(), &header(1, 16, &[[1117, kind, number, 2]], b"0123456789abcde\0")));
        }
        // A region whose trailer spans what is not there.
        let mut trailer = [63_u32, 7, number, 16].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
        all.push(file(&plain(), &header(1, 16, &[[63, 7, 0, 16]], &trailer)));
        trailer[3] = 62;
        all.push(file(&header(1, 16, &[[62, 7, 0, 16]], &trailer), &[]));
        // Lengths of the payload.
        let size = [&number.to_be_bytes()[..], &[0xff; 12]].concat();
        all.push(file(&header(1, 16, &[[1000, 4, 0, 1]], &size), &[]));
        all.push(file(&header(1, 16, &[[270, 5, 0, 1]], &size), &[]));
        // Files in folders that are not there.
        let store = [&number.to_be_bytes()[..], b"a\0b\0/\0"].concat();
        let entries = [[1116, 4, 0, 1], [1117, 8, 4, 1], [1118, 8, 6, 1]];
        all.push(file(&plain(), &header(3, 10, &entries, &store)));
    }
    // One name twice, entries that share bytes, no end of a string, and less than a header.
    all.push(file(&plain(), &header(2, 4, &[[1000, 6, 0, 1], [1000, 6, 2, 1]], b"a\0b\0")));
    all.push(file(&plain(), &header(2, 4, &[[1000, 6, 0, 1], [1001, 6, 0, 1]], b"a\0b\0")));
    all.push(file(&plain(), &header(1, 3, &[[1000, 6, 0, 1]], b"abc")));
    all.extend([0, 4, 95, 96, 97, 104, 111, 112].map(|len| file(&plain(), &[])[..len].to_vec()));
    all
}

fn plain() -> Vec<u8> {
    header(1, 4, &[[1000, 4, 0, 1]], &40_u32.to_be_bytes())
}

/// A header whose intro says `tags` and `bytes`, with these entries and this store.
fn header(tags: u32, bytes: u32, entries: &[[u32; 4]], store: &[u8]) -> Vec<u8> {
    let mut all = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    all.extend([tags, bytes].iter().chain(entries.iter().flatten()).flat_map(|number| number.to_be_bytes()));
    all.extend(store);
    all
}

fn file(signature: &[u8], main: &[u8]) -> Vec<u8> {
    let mut all = vec![0; 96];
    all[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    all[79] = 5;
    all.extend(signature);
    all.resize(all.len().next_multiple_of(8), 0);
    all.extend(main);
    all
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn lists() -> Vec<Vec<u8>> {
    texts(&[
        "# first\n\na-1-1.src.rpm\r\n./b-1-1\nc.nosrc.rpm",
        "\u{feff}a\rb\r\n  ././c  \n",
        "gcc* --nocheck\n'a b' --define=\"_smp_mflags -j1\" # why\n",
        "[!a-c]?* --with x --without=y --rpmbuild_timeout 60\n\\*x --define '_f(x:) %{-x*}'\n",
        "a --resultdir=/etc\nb --define 'x\nc\n",
    ])
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    let log = |code: u8, text: &str| [&[code][..], text.as_bytes()].concat();
    vec![
        log(1, "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n\0\0Start: rpmbuild a.src.rpm\n\0"),
        log(30, "\0No matching package to install: 'pkga(api) >= 1'\nnothing provides X needed by Y\n\0\0"),
        log(247, "Child return code was: -9\n\0Killed signal terminated program cc1plus\n\0\0"),
        log(10, "cc1: out of memory allocating 5 bytes\nNo space left on device\n\0\0\0"),
        log(1, "\0Architecture is not included: s390x\nerror: Architecture is excluded: armv5tel\0\0"),
        log(11, "Timeout(8) expired for command\nmake[1]: *** [Makefile:31: main.o] Error 1\n\0\0\0"),
        log(252, "collect2: error: ld terminated with signal 9 [Killed]\n\0\0Start: build setup\n\0"),
        log(250, "\0\0\0ERROR: Command failed\nread-only file system"),
        log(0, ""),
    ]
}

pub(crate) fn config() -> Vec<Vec<u8>> {
    let key = "ab".repeat(32);
    let mut all = texts(&[
        "moji1_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "a long enough passphrase\n",
        "[::1]:6789",
        "hub.example:1",
        "config_opts['target_arch'] = 'armv5tel' # why\nconfig_opts[\"root\"] = \"x\"\n",
    ]);
    all.push(format!("# farm\nb1 {key} armv5tel noarch # shelf 1\r\n\nb2 {key}\n").into_bytes());
    all.push(format!("{key}\n").into_bytes());
    all.push(vec![2, 5, 1, 0, 9, 2, 2]);
    all
}

/// Lines of a journal with their checks.
fn journal(lines: &[&str]) -> Vec<u8> {
    let line = |text: &&str| format!("{} {text}\n", &Digest::of(text.as_bytes()).to_string()[..8]);
    lines.iter().map(line).collect::<String>().into_bytes()
}

pub(crate) fn state() -> Vec<Vec<u8>> {
    let key = "07".repeat(32);
    let (a, b) = (format!("grant 5-1 {key} a-1-1.src.rpm"), format!("beside 5-2 {key} 5-1 a-1-1.src.rpm"));
    let lines = ["moji-leases 1 5", &a, &b, "end 5-1 expired", "end 5-2 final"];
    let mut all = vec![journal(&lines), lines.join("\n").into_bytes(), journal(&lines[..2])];
    let file = ResultFile {
        name: "a.rpm".into(),
        size: 7,
        nevra: Some("a-1-1.noarch".into()),
        ..Default::default()
    };
    let result = ResultJson {
        lease: "5-1".into(),
        srpm: "a-1-1.src.rpm".into(),
        files: vec![file],
        ..Default::default()
    };
    all.push(serde_json::to_vec(&result).expect("it encodes"));
    all.push(br#"{"decision": "accepted", "who": "ann@desk (10.0.0.7)", "unix_s": 1764000000}"#.to_vec());
    assert!(!decision::FILE_NAME.is_empty());
    let about = About { href: "a-1-1/a.rpm", sha256: [7; 32], size: 9, modified_unix_s: 1 };
    for rpm in packages().iter().take(4) {
        let Ok(described) = describe(&rpm[..], &about) else { continue };
        all.push(described.texts[Part::Primary as usize].clone());
        all.extend(
            decode_provided(&described.texts[Part::Provides as usize]).map(|one| encode_provided(&one)),
        );
        all.push(encode_piece(&Group::seal_all(Compression::Gzip, vec![described])));
    }
    all
}

pub(crate) fn mainline() -> Vec<Vec<u8>> {
    let primary = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm"><name>a&amp;b</name><arch>armv5tel</arch><version epoch="0" ver="1" rel="1.fc9"/>
<checksum type="sha256" pkgid="YES">00</checksum><location href="Packages/a.rpm"/><format><rpm:provides>
<rpm:entry name="a" flags="GE" epoch="1" ver="1" rel="2"/></rpm:provides><file type="dir">/usr/bin/a</file></format>
</package></metadata>"#;
    let mut all = texts(&[
        primary,
        r#"<?xml version="1.0"?><repomd><revision>1</revision><data type="primary"><checksum type="sha256">ab</checksum>
<open-checksum type="sha">cd</open-checksum><location href="repodata/primary.xml.gz"/><size>5</size></data></repomd>"#,
        "<metadata><!-- c --><![CDATA[x]]><package type='rpm'/>&#x41;</metadata>",
    ]);
    let group = |compression| Compression::member(compression, primary.as_bytes());
    all.extend([Compression::Gzip, Compression::Zstd].map(group));
    all
}

pub(crate) fn api() -> Vec<Vec<u8>> {
    texts(&[
        "packages?q=gcc&state=waiting&sort=name&offset=0&limit=100",
        "packages/a-1-1.src.rpm/log?which=build&attempt=1&offset=0&follow=false",
        "packages/%00%ff..%2f",
        "events?about=*&after=18446744073709551615&limit=1000",
        "history?days=366",
        "builders/b1",
        "builders/%e2%82%ac?x=%",
        "repo/a-1-1/build.log\nbytes=1-3",
        "repo/..%2f..%2fetc/passwd",
        "repo/repodata/repomd.xml\n\"x\"",
        "overview\nW/\"1\"",
        "metrics",
        "healthz?x",
        "openapi.json",
        "repository/moji.repo\nhub.example:80",
        "static/style.css\ngzip",
        "recent/repodata/repomd.xml",
    ])
}
