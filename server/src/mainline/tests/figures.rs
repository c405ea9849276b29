//! What a large distribution costs.

use super::*;
use crate::repodata::Compression;

/// Packages of a large distribution.
const PACKAGES: usize = 60_000;

/// A package like many: a library, its tools, its settings, what pkg-config, CMake and rpm's generators find in it.
fn sketch(n: usize) -> Sketch {
    let mut sketch =
        Sketch::new(&format!("package{n}-subpackage"), &format!("{}.{}.{}", n % 17, n % 101, n % 7));
    sketch.arch = if n.is_multiple_of(3) { "noarch" } else { "aarch64" };
    let name = &sketch.name;
    sketch.provides = ["", "-plugin", "-core", "-extra", "-glib", "-gtk"]
        .map(|part| format!("lib{name}{part}.so.{}()(64bit)", n % 9))
        .into_iter()
        .chain(["pkgconfig", "cmake", "config", "perl", "python3dist"].map(|kind| format!("{kind}({name})")))
        .collect();
    sketch.files = (0..5).map(|file| format!("/usr/bin/{name}-tool-{file}")).collect();
    sketch.files.push(format!("/etc/{name}.conf"));
    sketch
}

/// A line of `/proc/self/status`, kB.
fn status_kb(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|all| all.strip_prefix(line)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// `cargo test --release -p moji-server --lib mainline::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn figures() {
    for (name, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let bench = Bench::new();
        let folder = bench.folder.path().join("a");
        let (mut packed, mut bytes) = (Vec::new(), 0);
        let header = primary(&[]).replace("</metadata>\n", "");
        packed.extend(compression.member(header.as_bytes()));
        for at in (0..PACKAGES).step_by(1_000) {
            let text: String = (at..at + 1_000).map(|n| sketch(n).text()).collect();
            bytes += text.len();
            packed.extend(compression.member(text.as_bytes()));
        }
        packed.extend(compression.member(b"</metadata>\n"));
        publish(&folder, &packed);
        println!("{name}: {PACKAGES} packages, {bytes} bytes of XML, {} compressed", packed.len());
        drop(packed);
        let mut mainline = bench.open(&[folder.to_str().unwrap()]);
        // Resets the peak.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (before_kb, start) = (status_kb("VmRSS:"), std::time::Instant::now());
        let there = mainline.look(false).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name}: {seconds:.1} s, heap {} kB, resident +{} kB, peak +{} kB",
            (there.capabilities.heap_bytes() + there.layers[0].1.heap_bytes()) / 1_000,
            status_kb("VmRSS:").saturating_sub(before_kb),
            status_kb("VmHWM:").saturating_sub(before_kb),
        );
        assert_eq!(there.capabilities.len(), PACKAGES);
    }
}
