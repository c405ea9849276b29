//! RPM files: headers as they come, and whole packages whose digests are true.
//!
//! Owns what must hold of any bytes: an answer or an error, and no answer that contradicts another one.

use moji_proto::FileName;
use moji_server::repodata::{About, Part, decode_provided, describe, needs};
use moji_server::rpmfile::{
    Facts, KeyKind, Signable, expected_file_len, expected_len, read_facts, read_tags, verify_digests,
    verify_header,
};
use sha2::{Digest, Sha256};

/// Length of what stands for a signature, bytes: about what Ed25519 makes.
const PACKET_BYTES: usize = 120;

/// Reads `data` as a file that somebody uploaded or dropped.
pub(crate) fn headers(data: &[u8]) {
    let _ = expected_len(data);
    let _ = expected_file_len(data);
    let facts = read_facts(data).ok();
    let tags = read_tags(data).ok();
    if let Some(tags) = tags {
        assert_eq!(Some(&tags.facts), facts.as_ref(), "two readers of one header");
    }
    let header = verify_header(data).is_ok();
    if verify_digests(data).is_ok() {
        assert!(header, "a package has true digests only if its header has");
        assert_eq!(
            expected_len(data).ok().flatten(),
            Some(data.len() as u64),
            "a whole file is as long as it says"
        );
    }
    if let Some(facts) = &facts {
        safe(facts);
    }
    described(data, facts.as_ref());
    signed(data, facts.as_ref());
}

/// Reads `data` as the main header of a package whose other parts are made to fit.
pub(crate) fn package(data: &[u8]) {
    headers(&wrapped(data));
}

/// A package with this main header and `noise` as its payload.
fn wrapped(main: &[u8]) -> Vec<u8> {
    let digest: String = Sha256::digest(main).iter().map(|byte| format!("{byte:02x}")).collect();
    let size = u32::try_from(main.len() + 5).expect("an input is short").to_be_bytes();
    let mut file = vec![0; 96];
    file[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    file[79] = 5;
    let mut store = digest.into_bytes();
    store.resize(68, 0);
    store.extend(size);
    file.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 72]);
    file.extend([273_u32, 6, 0, 1, 1000, 4, 68, 1].iter().flat_map(|number| number.to_be_bytes()));
    file.extend(store);
    file.resize(file.len().next_multiple_of(8), 0);
    file.extend(main);
    file.extend(b"noise");
    file
}

/// What it is called can be a file's name.
fn safe(facts: &Facts) {
    let name = facts.nevra.file_name(facts.kind);
    assert!(FileName::new(name.as_str()).is_ok(), "{name:?}");
    assert!(!facts.nevra.version.contains('-') && !facts.nevra.release.contains('-'), "{name:?}");
    assert!(name.is_ascii() && !name.starts_with('.'), "{name:?}");
}

/// What an index says of it is XML, and says what the facts say.
fn described(data: &[u8], facts: Option<&Facts>) {
    let about = About { href: "a-1-1/a.rpm", sha256: [7; 32], size: data.len() as u64, modified_unix_s: 1 };
    let Ok(described) = describe(data, &about) else { return };
    let facts = facts.expect("what can be described has facts");
    for part in [Part::Primary, Part::Filelists, Part::Other] {
        let text = std::str::from_utf8(&described.texts[part as usize]).expect("XML is UTF-8");
        let control =
            |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
        assert!(!text.contains(control), "no XML: {text:?}");
    }
    let primary = String::from_utf8_lossy(&described.texts[Part::Primary as usize]).into_owned();
    let read = needs(&primary).expect("what the hub wrote it reads");
    assert_eq!(read.name, facts.nevra.name);
    let provided =
        decode_provided(&described.texts[Part::Provides as usize]).expect("what the hub wrote it reads");
    assert_eq!(provided.nevra, facts.nevra);
}

/// A signature changes nothing of what a package is.
fn signed(data: &[u8], facts: Option<&Facts>) {
    let Ok(signable) = Signable::read(data) else { return };
    let at = |offset: u64| usize::try_from(offset).expect("an input is short");
    for key in [KeyKind::Rsa, KeyKind::Other] {
        let Ok(front) = signable.front(key, &[7; PACKET_BYTES]) else { return };
        let rest = signable.rest();
        let new = [&front, &data[at(rest.start)..at(rest.end)]].concat();
        assert_eq!(read_facts(&new[..]).ok().as_ref(), facts, "signed it is another package");
    }
}
