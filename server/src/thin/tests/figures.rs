//! What thin repositories of a large distribution cost.

use std::io::BufReader;

use super::*;

/// Packages of a large distribution.
const PACKAGES: usize = 60_000;
/// Of these everybody needs some: a chroot.
const CORE: usize = 150;

/// A package with forty provides and twenty-five requirements: its own name and libraries in many forms, and what it needs of
/// the core and of packages that came before it.
fn dense(n: usize) -> String {
    let mut xml = String::new();
    let name = format!("package{n}-subpackage");
    let version = format!("{}.{}.{}", n % 17, n % 101, n % 7);
    write!(
        xml,
        "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{}</arch>\n  \
         <version epoch=\"0\" ver=\"{version}\" rel=\"1.fc42\"/>\n  \
         <checksum type=\"sha256\" pkgid=\"YES\">{:064x}</checksum>\n  <summary>Some text of {name}</summary>\n  \
         <description>A description that is longer than the summary of {name}, over\nsome lines, as most are: what it \
         is, whom it is good for, and what it can do with number {n}.</description>\n  \
         <packager>Somebody</packager>\n  <url>http://{name}.example/</url>\n  <time file=\"1{n}\" build=\"1{n}\"/>\n  \
         <size package=\"{}\" installed=\"1{n}\" archive=\"2{n}\"/>\n  \
         <location href=\"Packages/p/{name}-{version}-1.fc42.aarch64.rpm\"/>\n  <format>\n    \
         <rpm:license>GPL-2.0-or-later</rpm:license>\n    <rpm:vendor>Project</rpm:vendor>\n    \
         <rpm:group>Unspecified</rpm:group>\n    <rpm:buildhost>host{}.example</rpm:buildhost>\n    \
         <rpm:sourcerpm>package{n}-{version}-1.fc42.src.rpm</rpm:sourcerpm>\n    \
         <rpm:header-range start=\"4504\" end=\"1{n}\"/>\n    <rpm:provides>\n",
        if n.is_multiple_of(3) { "noarch" } else { "aarch64" },
        n as u128 * 0x1234_5678_9abc_def1_0111,
        n * 1_000,
        n % 50,
    )
    .unwrap();
    let mut versioned = |name: String| {
        writeln!(
            xml,
            "      <rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"1.fc42\"/>"
        )
        .unwrap();
    };
    versioned(name.clone());
    versioned(format!("{name}(aarch-64)"));
    for kind in
        ["pkgconfig", "cmake", "config", "perl", "python3dist", "python3.13dist", "bundled", "rubygem"]
    {
        versioned(format!("{kind}({name})"));
    }
    (0..30).for_each(|part| {
        writeln!(xml, "      <rpm:entry name=\"lib{name}.so.{}(VERSION_{part})(64bit)\"/>", n % 9).unwrap()
    });
    xml.push_str("    </rpm:provides>\n    <rpm:requires>\n");
    for of in 0..25_usize {
        // Of the core or of one before it in a way that spreads: what is late needs some hundred others.
        let other = if of < 20 || n < CORE { (n * 7 + of * 13) % CORE } else { n / (of - 17) - n % 3 };
        writeln!(
            xml,
            "      <rpm:entry name=\"libpackage{other}-subpackage.so.{}(VERSION_{})(64bit)\"/>",
            other % 9,
            (n + of) % 30
        )
        .unwrap();
    }
    xml.push_str("    </rpm:requires>\n");
    (0..5).for_each(|file| writeln!(xml, "    <file>/usr/bin/{name}-tool-{file}</file>").unwrap());
    xml.push_str("  </format>\n</package>\n");
    xml
}

/// A line of `/proc/self/status`, kB.
fn status_kb(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|all| all.strip_prefix(line)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// Time of the processor that this thread has taken, milliseconds: other work on the machine does not count.
fn cpu_ms() -> f64 {
    let all = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    all.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// `cargo test --release -p moji-server --lib thin::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn figures() {
    let mut list = tempfile::tempfile().unwrap();
    let mut bytes = 0;
    for part in std::iter::once(document(&[]).replace("</metadata>", ""))
        .chain((0..PACKAGES).map(dense))
        .chain(["</metadata>".to_owned()])
    {
        bytes += part.len();
        std::io::Write::write_all(&mut list, part.as_bytes()).unwrap();
    }
    std::io::Seek::rewind(&mut list).unwrap();
    // Resets the peak.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before_kb, start) = (status_kb("VmRSS:"), cpu_ms());
    let texts = tempfile::tempfile().unwrap();
    let layer = Layer::read(BufReader::with_capacity(1 << 16, list), texts, Some("aarch64"), None).unwrap();
    println!(
        "{PACKAGES} packages, {bytes} bytes of XML: read in {:.1} s, heap {} kB, disk {} kB, resident +{} kB, peak +{} kB",
        (cpu_ms() - start) / 1e3,
        layer.heap_bytes() / 1_000,
        layer.disk_bytes() / 1_000,
        status_kb("VmRSS:").saturating_sub(before_kb),
        status_kb("VmHWM:").saturating_sub(before_kb),
    );
    assert_eq!(layer.len(), PACKAGES);
    let layers = [Arc::new(layer)];
    let setup: String = (0..CORE).step_by(10).map(|n| format!(" package{n}-subpackage")).collect();
    for needs in [1, 5, 10, 20, 30, 100] {
        let requires: Vec<String> =
            (0..needs).map(|n| format!("pkgconfig(package{}-subpackage)", PACKAGES - 1 - n * 97)).collect();
        let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
        let of = want(&format!("install{setup}"), &requires);
        for weak in [false, true] {
            let of = Want { weak, ..of.clone() };
            let (mut close_ms, mut write_ms) = (f64::MAX, f64::MAX);
            let mut thin = Thin::default();
            for _ in 0..5 {
                let start = cpu_ms();
                let picked = close(&layers, &of);
                let closed = cpu_ms();
                thin = write(&layers, &picked).unwrap();
                close_ms = close_ms.min(closed - start);
                write_ms = write_ms.min(cpu_ms() - closed);
            }
            assert_eq!(thin.missing, [""; 0]);
            println!(
                "{needs} BuildRequires{}: {} packages, close {close_ms:.1} ms, write {write_ms:.1} ms, {} kB",
                if weak { ", weak" } else { "" },
                thin.packages,
                thin.files[0].1.len() / 1_000,
            );
        }
    }
}
