//! Real packages against rpm's own reading of them, then what nobody should ever send.

mod hostile;
mod make;

use std::fs::File;
use std::io::Write;

use super::header::{REGION_HEADER, REGION_SIGNATURE};
use super::*;
use make::*;

fn facts(bytes: &[u8]) -> Facts {
    read_facts(bytes).unwrap()
}

/// `name flags version` a line, as rpm prints them.
fn lines(capabilities: &[Capability]) -> Vec<String> {
    let line = |c: &Capability| format!("{} {} {}", c.name, c.flags, c.evr);
    capabilities.iter().map(line).collect()
}

fn rpm_query(package: &Built, format: &str) -> String {
    rpm(&["-qp", "--qf", format], &package.bytes)
}

fn rpm_capabilities(package: &Built, what: &str) -> Vec<String> {
    let format = format!("[%{{{what}NAME}}\t%{{{what}FLAGS}}\t%{{{what}VERSION}}\n]");
    let mut all = Vec::new();
    for line in rpm_query(package, &format).lines() {
        let [name, flags, evr] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("rpm printed {line:?}");
        };
        if !name.starts_with("rpmlib(") {
            all.push(format!("{name} {} {evr}", flags.parse::<u32>().unwrap() & 14));
        }
    }
    all
}

#[track_caller]
fn check_against_rpm(package: &Built, kind: Kind) -> Facts {
    let facts = facts(&package.bytes);
    assert_eq!(facts.kind, kind);
    let n = &facts.nevra;
    let source = facts.source_rpm.as_deref().unwrap_or("(none)");
    let ours = format!("{} {} {} {} {source}", n.name, n.epoch, n.version, n.release);
    let format = "%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE} %{SOURCERPM}";
    assert_eq!(ours, rpm_query(package, format));
    assert_eq!(n.nvr(), rpm_query(package, "%{NVR}"));
    assert_eq!(n.file_name(kind), package.name);
    assert_eq!(lines(&facts.requires), rpm_capabilities(package, "REQUIRE"));
    assert_eq!(lines(&facts.provides), rpm_capabilities(package, "PROVIDE"));
    let arches = |tag: &str| rpm_query(package, &format!("[%{{{tag}}} ]"));
    let ours = |all: &[String]| all.iter().map(|a| format!("{a} ")).collect::<String>();
    assert_eq!(ours(&facts.exclusive_arch), arches("EXCLUSIVEARCH"));
    assert_eq!(ours(&facts.exclude_arch), arches("EXCLUDEARCH"));
    facts
}

#[test]
fn a_source_package_reads_as_rpm_reads_it() {
    let facts = check_against_rpm(&real().source, Kind::Source);
    assert_eq!(facts.nevra.to_string(), "moji-sample-3:1.2~rc1-4.x+1.src");
    assert_eq!(facts.exclusive_arch[..2], ["noarch", "sparc64"]);
    assert_eq!(facts.exclude_arch, ["s390x", "ia64"]);
    let requires = lines(&facts.requires);
    for want in ["gcc 12 4", "pkgconfig(foo) 0 ", "(clang if llvm) 0 "] {
        assert!(requires.iter().any(|r| r == want), "{want}: {requires:?}");
    }
}

#[test]
fn a_binary_package_reads_as_rpm_reads_it() {
    let facts = check_against_rpm(&real().binary, Kind::Binary);
    assert_eq!(facts.nevra.arch, "noarch");
    let provides = lines(&facts.provides);
    for want in ["sample(api) 8 2:7-1", "older 2 5"] {
        assert!(provides.iter().any(|p| p == want), "{want}: {provides:?}");
    }
    assert_eq!(facts.source_rpm.as_ref(), Some(&real().source.name));
}

#[test]
fn a_source_package_without_its_sources_is_a_nosrc() {
    let facts = check_against_rpm(&real().nosrc, Kind::Source);
    assert_eq!(facts.nevra.to_string(), "moji-nosrc-5-1.nosrc");
    assert!(facts.requires.is_empty());
}

#[test]
fn real_packages_have_the_length_and_the_digests_they_declare() {
    for package in [&real().source, &real().binary, &real().nosrc] {
        let bytes = &package.bytes[..];
        let len = bytes.len() as u64;
        assert_eq!(expected_len(bytes).unwrap(), Some(len));
        verify_digests(bytes).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        assert_eq!(expected_file_len(&file).unwrap(), Some(len));
        verify_digests(&file).unwrap();
        assert_eq!(read_facts(&file).unwrap(), facts(bytes));
    }
}

/// The length is known once the signature header is there, and not a byte earlier.
#[test]
fn the_length_is_told_by_lead_and_signature_alone() {
    let bytes = &real().source.bytes[..];
    let known = (0..bytes.len()).find(|&n| expected_len(&bytes[..n]).unwrap().is_some()).unwrap();
    let main = bytes.windows(8).rposition(|w| w == header::MAGIC).unwrap();
    assert!(known <= main && main - known < 8, "{known} {main}");
    for n in known..bytes.len() {
        assert_eq!(expected_len(&bytes[..n]).unwrap(), Some(bytes.len() as u64));
    }
}

#[test]
fn a_copy_in_progress_is_truncated_at_every_length() {
    let bytes = &real().source.bytes[..];
    for n in 0..bytes.len().min(8192) {
        for result in [read_facts(&bytes[..n]).map(|_| ()), verify_digests(&bytes[..n])] {
            match result {
                Err(RpmError::Truncated { need, have }) if have == n as u64 && need > have => {}
                other => panic!("{n} bytes: {other:?}"),
            }
        }
    }
}

#[test]
fn a_file_that_goes_on_is_too_long() {
    let mut bytes = real().binary.bytes.clone();
    bytes.push(0);
    let result = read_facts(&bytes[..]);
    assert!(matches!(result, Err(RpmError::TooLong { want, have }) if want + 1 == have));
}

/// A change of any byte of the main header and the payload is noticed; in lead and signature it
/// changes nothing that the hub believes.
#[test]
fn each_flipped_byte_is_noticed_or_harmless() {
    for built in [&real().source, &real().binary] {
        let good = &built.bytes[..];
        let package = package::Package::read(good).unwrap();
        let want = facts(good);
        let mut bytes = good.to_vec();
        for i in 0..good.len() {
            for flip in [0x01, 0xff] {
                bytes[i] = good[i] ^ flip;
                let result = verify_digests(&bytes[..]);
                let facts = read_facts(&bytes[..]);
                if i as u64 >= package.main_start {
                    assert!(result.is_err(), "byte {i} ^ {flip}");
                } else if result.is_ok() {
                    assert_eq!(facts.unwrap(), want, "byte {i} ^ {flip}");
                }
            }
            bytes[i] = good[i];
        }
    }
}

#[test]
fn old_packages_are_verified_by_their_md5() {
    // What rpm before 4.14 wrote: SHA1 and MD5. The main header has to stay as it is.
    let old = &real().binary.bytes[..];
    let parts = package::Package::read(old).unwrap();
    let rest = |keep: &[u32]| {
        let mut values = values_of(&parts.signature);
        values.retain(|v| keep.contains(&v.tag));
        let (main, payload) = (parts.main_start as usize, parts.payload_start as usize);
        package(&values, &old[main..payload], &old[payload..])
    };
    for keep in [&[269, 1004][..], &[1004], &[273], &[269]] {
        let mut bytes = rest(keep);
        verify_digests(&bytes[..]).unwrap();
        check_with_rpm_itself(&bytes);
        *bytes.last_mut().unwrap() ^= 1;
        let result = verify_digests(&bytes[..]);
        assert!(matches!(result, Err(RpmError::Digest(DigestFault::Mismatch(_)))));
    }
    let bare = rest(&[]);
    let result = verify_digests(&bare[..]);
    assert!(matches!(result, Err(RpmError::Digest(DigestFault::NoneOverHeader))));
}

/// rpm reads what the tests make by hand as a package, so they test the format and not themselves.
fn check_with_rpm_itself(bytes: &[u8]) {
    let name = rpm(&["-qp", "--qf", "%{NAME}"], bytes);
    assert_eq!(name, facts(bytes).nevra.name);
    rpm(&["-K", "--nosignature"], bytes);
}

/// Header and payload covered by MD5 alone, and with neither that nor a payload digest.
#[test]
fn a_payload_that_no_digest_covers_is_refused() {
    let main = header(Some(REGION_HEADER), &tiny_values());
    let both = [main.as_slice(), b"payload"].concat();
    let md5 = <md5::Md5 as sha2::Digest>::digest(&both);
    let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&main);
    let hex: String = sha256.iter().map(|b| format!("{b:02x}")).collect();
    verify_digests(&package(&[bin(1004, &md5)], &main, b"payload")[..]).unwrap();
    let result = verify_digests(&package(&[bin(1004, &md5)], &main, b"PAYLOAD")[..]);
    assert!(matches!(result, Err(RpmError::Digest(DigestFault::Mismatch("MD5")))));
    let result = verify_digests(&package(&[string(273, &hex)], &main, b"payload")[..]);
    assert!(matches!(result, Err(RpmError::Digest(DigestFault::NoneOverPayload))));
}

/// Longer than what is read at once, with each algorithm, and with digits as some tools write them.
#[test]
fn each_kind_of_payload_digest_is_verified_to_the_last_byte() {
    use sha2::Digest;
    let payload: Vec<u8> = (0..700_001).map(|i: u32| (i % 251) as u8).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
    let kinds = [
        (5092, 8, hex(&sha2::Sha256::digest(&payload))),
        (5092, 9, hex(&sha2::Sha384::digest(&payload))),
        (5092, 10, hex(&sha2::Sha512::digest(&payload))),
        (5121, 8, hex(&sha2::Sha512::digest(&payload))),
    ];
    for (tag, algo, digest) in kinds {
        let mut values = tiny_values();
        values.push(int32(5093, algo));
        values.push(strings(tag, &[&digest]));
        let main = header(Some(REGION_HEADER), &values);
        let signature = [string(273, &hex(&sha2::Sha256::digest(&main)))];
        let mut bytes = package(&signature, &main, &payload);
        verify_digests(&bytes[..]).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let result = verify_digests(&bytes[..]);
        let mismatch = matches!(result, Err(RpmError::Digest(DigestFault::Mismatch(_))));
        assert!(mismatch, "{tag} {algo}: {result:?}");
        // An algorithm that nobody knows covers nothing.
        values[5] = int32(5093, 99);
        let main = header(Some(REGION_HEADER), &values);
        let signature = [string(273, &hex(&sha2::Sha256::digest(&main)))];
        let result = verify_digests(&package(&signature, &main, &payload)[..]);
        match (tag, result) {
            (5092, Err(RpmError::Digest(DigestFault::NoneOverPayload))) | (5121, Ok(())) => {}
            (_, other) => panic!("{tag} {algo}: {other:?}"),
        }
    }
}

/// A file system that gives a few bytes at a time and is interrupted in between.
struct Dribble<'a>(&'a [u8], std::cell::Cell<u32>);

impl ReadAt for Dribble<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.1.set(self.1.get() + 1);
        if self.1.get().is_multiple_of(3) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let n = buf.len().min(7);
        self.0.read_at(&mut buf[..n], offset)
    }

    fn byte_len(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

#[test]
fn short_and_interrupted_reads_change_nothing() {
    let bytes = &real().binary.bytes[..];
    let file = Dribble(bytes, std::cell::Cell::new(0));
    assert_eq!(read_facts(&file).unwrap(), facts(bytes));
    verify_digests(&file).unwrap();
}

/// Before rpm 4 headers had no regions, no payload digests and no SOURCEPACKAGE.
#[test]
fn packages_without_regions_are_read() {
    let old = |tag| !matches!(tag, 269 | 273 | 5092..=5113 | 1106);
    let source = &real().source.bytes[..];
    let stripped = strip(source, old, false);
    assert_eq!(facts(&stripped), facts(source));
    let result = verify_digests(&stripped[..]);
    assert!(matches!(result, Err(RpmError::Digest(DigestFault::Mismatch("MD5")))));
}

/// Version 6 has no size in its signature and counts its payload in the main header.
#[test]
fn a_package_of_format_6_has_its_size_in_the_main_header() {
    let mut values = tiny_values();
    values.push(int64(package::PAYLOADSIZE, 7));
    let main = header(Some(REGION_HEADER), &values);
    let signature = header(Some(REGION_SIGNATURE), &[string(273, "00")]);
    let bytes = [start(&signature), main, b"payload".to_vec()].concat();
    assert_eq!(expected_len(&bytes[..bytes.len() - 7]).unwrap(), Some(bytes.len() as u64));
    assert_eq!(expected_len(&bytes[..bytes.len() - 8]).unwrap(), None);
    assert_eq!(facts(&bytes).nevra.to_string(), "tiny-1-2.noarch");
}

/// 5 GiB that take no space: facts come from the headers alone, and sizes need 64 bits.
#[test]
fn a_package_above_4_gib_is_read_without_its_payload() {
    let main = header(Some(REGION_HEADER), &tiny_values());
    let size = main.len() as u64 + (5 << 30);
    let signature = header(Some(REGION_SIGNATURE), &[int64(270, size)]);
    let bytes = [start(&signature), main].concat();
    let len = bytes.len() as u64 + (5 << 30);
    assert_eq!(expected_len(&bytes).unwrap(), Some(len));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(len - 1).unwrap();
    assert!(matches!(read_facts(&file), Err(RpmError::Truncated { need, .. }) if need == len));
    file.set_len(len).unwrap();
    assert_eq!(read_facts(&file).unwrap().nevra.name, "tiny");
}

#[test]
fn names_print_with_an_epoch_only_where_there_is_one() {
    let mut n = facts(&tiny_with(&[])).nevra;
    assert_eq!(n.to_string(), "tiny-1-2.noarch");
    assert_eq!(n.nvr(), "tiny-1-2");
    n.epoch = 7;
    assert_eq!(n.to_string(), "tiny-7:1-2.noarch");
    assert_eq!(n.file_name(Kind::Binary), "tiny-1-2.noarch.rpm");
    assert_eq!(n.file_name(Kind::Source), "tiny-1-2.src.rpm");
}
