//! Files made to do harm. Each row must give its own error; the loops at the end only ask for an answer.

use super::*;

/// Why a file is refused, as the log would say it.
#[track_caller]
fn refused(bytes: &[u8]) -> String {
    match read_facts(bytes) {
        Err(e) => e.to_string(),
        Ok(facts) => panic!("accepted as {}", facts.nevra),
    }
}

#[track_caller]
fn check_refused(rows: &[(Vec<u8>, &str)]) {
    for (bytes, why) in rows {
        assert_eq!(refused(bytes), *why);
    }
}

#[test]
fn the_tiny_package_is_good_so_that_its_variants_prove_something() {
    assert_eq!(facts(&tiny_with(&[])).nevra.to_string(), "tiny-1-2.noarch");
}

#[test]
fn what_is_no_rpm_is_told_by_its_first_byte() {
    for bytes in [&b"\0"[..], b"\xed\xab\xee\xda", b"#!/bin/sh\n", &[0xff; 200]] {
        assert!(matches!(expected_len(bytes), Err(RpmError::NotRpm)));
        assert!(matches!(read_facts(bytes), Err(RpmError::NotRpm)));
    }
    assert_eq!(expected_len(b"").unwrap(), None);
}

#[test]
fn a_bad_lead_or_intro_is_malformed() {
    let with = |at: usize, byte: u8| {
        let mut bytes = tiny_with(&[]);
        bytes[at] = byte;
        bytes
    };
    let magic = "malformed signature: does not start with a header's magic";
    check_refused(&[
        (with(4, 7), "malformed lead: unknown format version"),
        (with(79, 1), "malformed lead: unknown type of signature"),
        (with(96, 0), magic),
        (with(99, 2), magic),
        (with(103, 1), magic),
    ]);
    let mut bytes = tiny_with(&[]);
    let main = bytes.windows(8).rposition(|w| w == header::MAGIC).unwrap();
    bytes[main] = 0;
    let why = "malformed header: does not start with a header's magic";
    assert_eq!(refused(&bytes), why);
}

/// The limits come before the bytes: nothing of what is declared has to be there.
#[test]
fn declared_sizes_above_the_limits_are_refused_unread() {
    let signature = |tags, bytes| start(&raw_header(tags, bytes, &[], &[]));
    let main = |tags, bytes| tiny_around(&raw_header(tags, bytes, &[], &[]));
    let max = u32::MAX;
    check_refused(&[
        (signature(33, 0), "too large: 33 signature tags, at most 32 are read"),
        (signature(max, max), "too large: 4294967295 signature tags, at most 32 are read"),
        (signature(1, max), "too large: 4294967295 signature bytes, at most 1048576 are read"),
        (signature(0, 0), "malformed signature: has no tags"),
        (main(1025, 0), "too large: 1025 header tags, at most 1024 are read"),
        (main(0x1000_0001, 0), "too large: 268435457 header tags, at most 1024 are read"),
        (main(1, (32 << 20) + 1), "too large: 33554433 header bytes, at most 33554432 are read"),
        (main(1, 1 << 31), "too large: 2147483648 header bytes, at most 33554432 are read"),
    ]);
    let at_limit = start(&raw_header(32, 1 << 20, &[], &[]));
    let need = 96 + 16 + 32 * 16 + (1 << 20);
    assert!(matches!(read_facts(&at_limit[..]), Err(RpmError::Truncated { need: n, .. }) if n == need));
}

/// One entry over a store of 32 zeros.
#[test]
fn an_entry_that_does_not_fit_its_store_is_refused() {
    let one = |kind, offset, count| {
        let index = entry(1000, kind, offset, count);
        tiny_around(&raw_header(1, 32, &index, &[0; 32]))
    };
    let outside = "malformed header: tag 1000 lies outside the store";
    let count = "malformed header: tag 1000 has an impossible count";
    let unknown = "malformed header: tag 1000 has an unknown type";
    let aligned = "malformed header: tag 1000 is not aligned";
    check_refused(&[
        (one(6, 33, 1), outside),
        (one(6, 32, 1), count),
        (one(6, u32::MAX, 1), outside),
        (one(6, 1 << 31, 1), outside),
        (one(4, 0xffff_fffc, 1), outside),
        (one(4, 28, 2), outside),
        (one(4, 0, 9), outside),
        (one(4, 0, 1 << 30), count),
        (one(5, 0, 0x2000_0000), count),
        (one(5, 0, 5), outside),
        (one(7, 0, 33), count),
        (one(7, 0, u32::MAX), count),
        (one(8, 0, 1 << 31), count),
        (one(8, 0, 33), count),
        (one(9, 31, 2), count),
        (one(6, 0, 0), count),
        (one(6, 0, 2), count),
        (one(0, 0, 1), unknown),
        (one(10, 0, 1), unknown),
        (one(u32::MAX, 0, 1), unknown),
        (one(4, 2, 1), aligned),
        (one(3, 1, 1), aligned),
        (one(5, 4, 1), aligned),
    ]);
}

#[test]
fn strings_without_an_end_are_refused() {
    let text = |kind, count| {
        let index = entry(1000, kind, 0, count);
        tiny_around(&raw_header(1, 4, &index, b"a\0bc"))
    };
    let why = "malformed header: tag 1000 has a string without an end";
    check_refused(&[(text(8, 2), why), (text(9, 2), why)]);
    let index = entry(1000, 6, 2, 1);
    assert_eq!(refused(&tiny_around(&raw_header(1, 4, &index, b"a\0bc"))), why);
}

#[test]
fn entries_that_share_bytes_or_pose_as_regions_are_refused() {
    let pair = |a: (u32, u32), b: (u32, u32)| {
        let index = [entry(a.0, 6, a.1, 1), entry(b.0, 6, b.1, 1)].concat();
        tiny_around(&raw_header(2, 8, &index, b"abc\0def\0"))
    };
    check_refused(&[
        (pair((1000, 0), (1001, 0)), "malformed header: tag 1001 overlaps the value before it"),
        (pair((1000, 4), (1001, 0)), "malformed header: tag 1001 overlaps the value before it"),
        (pair((1000, 0), (63, 4)), "malformed header: tag 63 is no tag that may stand there"),
        (pair((62, 0), (1000, 4)), "malformed header: tag 62 is no tag that may stand there"),
        (pair((u32::MAX, 0), (1000, 4)), "malformed header: tag 4294967295 is no tag that may stand there"),
    ]);
}

#[test]
fn a_region_that_does_not_span_its_header_is_refused() {
    let good = header(Some(REGION_HEADER), &tiny_values());
    let tags = good[11] as usize;
    let (first, trailer) = (16, good.len() - 16);
    let with = |at: usize, bytes: &[u8]| {
        let mut main = good.clone();
        main[at..at + bytes.len()].copy_from_slice(bytes);
        tiny_around(&main)
    };
    let span = "malformed header: tag 63 does not span its header";
    let bad = "malformed header: tag 63 has a bad trailer";
    let one_less = ((tags as u32 - 1) * 16).wrapping_neg().to_be_bytes();
    check_refused(&[
        (with(first + 4, &[0, 0, 0, 6]), "malformed header: tag 63 is not a region"),
        (with(first + 12, &[0, 0, 0, 17]), "malformed header: tag 63 is not a region"),
        (with(first + 8, &[0xff; 4]), "malformed header: tag 63 lies outside the store"),
        (with(first + 8, &[0; 4]), bad),
        (with(trailer, &[0, 0, 0, 62]), bad),
        (with(trailer + 8, &[0; 4]), span),
        (with(trailer + 8, &[0x80, 0, 0, 0]), span),
        (with(trailer + 8, &one_less), span),
    ]);
}

#[test]
fn a_value_over_the_regions_trailer_is_refused() {
    let over = |offset, len| {
        let index = [entry(63, 7, 4, 16), entry(1000, 7, offset, len)].concat();
        let trailer = entry(63, 7, 32u32.wrapping_neg(), 16);
        let store = [&b"abc\0"[..], &trailer].concat();
        tiny_around(&raw_header(2, 20, &index, &store))
    };
    let why = "malformed header: tag 1000 overlaps the region's trailer";
    check_refused(&[(over(0, 5), why), (over(4, 16), why), (over(19, 1), why)]);
    // What ends where the trailer starts is only of the wrong type.
    assert!(refused(&over(0, 4)).ends_with("is missing"));
}

#[test]
fn sizes_that_no_file_can_have_are_refused() {
    let sized = |values: &[Value]| start(&header(Some(REGION_SIGNATURE), values));
    let no_file = "malformed signature: tag 270 is no file's size";
    check_refused(&[
        (sized(&[int64(270, u64::MAX)]), no_file),
        (sized(&[int64(270, 1 << 63)]), no_file),
        (sized(&[int64(270, i64::MAX as u64)]), no_file),
        (sized(&[int32(1000, 15)]), "malformed signature: says less than a header's size"),
        (
            sized(&[int64(270, 99), int32(1000, 98)]),
            "malformed signature: tag 270 contradicts the other size",
        ),
        (sized(&[int64(1000, 99)]), "malformed signature: tag 1000 is not a 32-bit number"),
        (sized(&[int32(270, 99)]), "malformed signature: tag 270 is not one 64-bit number"),
    ]);
    let main = header(Some(REGION_HEADER), &tiny_values());
    let signature = header(Some(REGION_SIGNATURE), &[string(273, "00")]);
    let bytes = [start(&signature), main.clone()].concat();
    assert_eq!(refused(&bytes), "malformed signature: says no size");
    // A size that ends inside the main header, with a file that is as long as that.
    let signature = header(Some(REGION_SIGNATURE), &[int32(1000, main.len() as u32 - 1)]);
    let bytes = [start(&signature), main[..main.len() - 1].to_vec()].concat();
    let why = "malformed signature: says a size that ends inside the header";
    assert_eq!(refused(&bytes), why);
    // Two sizes that do not lead to the same end.
    let why = "malformed header: tag 5112 contradicts the signature";
    assert_eq!(refused(&tiny_with(&[int64(5112, 8)])), why);
    assert!(read_facts(&tiny_with(&[int64(5112, 7)])[..]).is_ok());
}

#[test]
fn names_that_are_no_file_names_are_refused() {
    let too_long = "x".repeat(230);
    let bad_name = [
        "",
        ".",
        "..",
        ".hidden",
        "../../etc/cron.d/x",
        "/abs",
        "a/b",
        "a\\b",
        "a b",
        "a\nb",
        "a\tb",
        "a\x1b[2J",
        "a\x7f",
        "-rf",
        "a@2",
        "a:b",
        "ä",
        "a*",
    ];
    for name in bad_name {
        let why = "malformed header: tag 1000 is not safe in a file name";
        assert_eq!(refused(&tiny_with(&[string(1000, name)])), why, "{name:?}");
    }
    for version in ["", ".1", "1-2", "1/2", "../1", "1 2", "1:2"] {
        for tag in [1001, 1002] {
            let why = format!("malformed header: tag {tag} is not safe in a file name");
            assert_eq!(refused(&tiny_with(&[string(tag, version)])), why, "{version:?}");
        }
    }
    for arch in ["", ".", "x/y", "x.y", "x-y"] {
        assert!(read_facts(&tiny_with(&[string(1022, arch)])[..]).is_err(), "{arch:?}");
    }
    let why = "too large: 245 bytes in a file name, at most 240 are read";
    assert_eq!(refused(&tiny_with(&[string(1000, &too_long)])), why);
    let good = ["a", "libstdc++", "_x", "0ad", "a.b-c_d+e~f^g", "x%{dist}"];
    for name in good {
        assert_eq!(facts(&tiny_with(&[string(1000, name)])).nevra.name, name);
    }
}

#[test]
fn a_binary_that_does_not_name_its_source_package_well_is_refused() {
    let why = "malformed header: tag 1044 is not the name of a source package";
    for source in ["", ".src.rpm", "../x.src.rpm", "a/b.src.rpm", "x-1-1.i386.rpm", "x\n.src.rpm"] {
        assert_eq!(refused(&tiny_with(&[string(1044, source)])), why, "{source:?}");
    }
    let long = format!("{}.src.rpm", "x".repeat(233));
    let why = "too large: 241 bytes in a file name, at most 240 are read";
    assert_eq!(refused(&tiny_with(&[string(1044, &long)])), why);
    check_refused(&[
        (tiny_with(&[int32(1106, 1)]), "malformed header: tag 1106 and 1044 contradict each other"),
        (tiny_with(&[string(1022, "src")]), "malformed header: tag 1022 is a source package's, in a binary"),
    ]);
}

#[test]
fn wrong_types_missing_and_double_tags_are_refused() {
    let mut twice = tiny_values();
    twice.push(string(1000, "other"));
    let twice = tiny_around(&header(Some(REGION_HEADER), &twice));
    let without = |tag| {
        let mut values = tiny_values();
        values.retain(|v| v.tag != tag);
        tiny_around(&header(Some(REGION_HEADER), &values))
    };
    let two = value(1003, INT32, 2, vec![0; 8]);
    check_refused(&[
        (twice, "malformed header: tag 1000 is there twice"),
        (without(1000), "malformed header: tag 1000 is missing"),
        (without(1001), "malformed header: tag 1001 is missing"),
        (without(1022), "malformed header: tag 1022 is missing"),
        (tiny_with(&[int32(1000, 7)]), "malformed header: tag 1000 is not a string"),
        (tiny_with(&[strings(1000, &["a"])]), "malformed header: tag 1000 is not a string"),
        (tiny_with(&[string(1003, "1")]), "malformed header: tag 1003 is not a 32-bit number"),
        (tiny_with(&[two]), "malformed header: tag 1003 is more than one number"),
        (tiny_with(&[int32(1049, 1)]), "malformed header: tag 1049 is not an array of strings"),
        (tiny_with(&[value(1000, 6, 1, b"\xff\xfe\0".to_vec())]), "malformed header: tag 1000 is not UTF-8"),
    ]);
}

#[test]
fn capabilities_that_do_not_match_up_are_refused() {
    let flags = |n: u32| value(1048, INT32, n, vec![0; n as usize * 4]);
    let names = strings(1049, &["a", "b"]);
    let uneven = |tag| format!("malformed header: tag {tag} has not as many elements as there are names");
    let bytes = tiny_with(&[flags(3), names.clone(), strings(1050, &["", ""])]);
    assert_eq!(refused(&bytes), uneven(1048));
    let bytes = tiny_with(&[flags(2), names.clone(), strings(1050, &["1"])]);
    assert_eq!(refused(&bytes), uneven(1050));
    let bytes = tiny_with(&[strings(1049, &["a", ""])]);
    assert_eq!(refused(&bytes), "malformed header: tag 1049 holds an empty name");
    let bytes = tiny_with(&[value(1049, 8, 1, b"a\xff\0".to_vec())]);
    assert_eq!(refused(&bytes), "malformed header: tag 1049 is not UTF-8");
    // Of the flags only the comparison counts: here a prerequisite of a script as well.
    let flags = value(1048, INT32, 1, 0x0100_0308_u32.to_be_bytes().to_vec());
    let bytes = tiny_with(&[flags, strings(1049, &["a"]), strings(1050, &["1"])]);
    assert_eq!(lines(&facts(&bytes).requires), ["a 8 1"]);
    // The names alone, as very old packages have them, and as an i18n array.
    let bytes = tiny_with(&[value(1049, 9, 2, names.data)]);
    assert_eq!(lines(&facts(&bytes).requires), ["a 0 ", "b 0 "]);
}

/// 32 MiB of empty strings would be a gigabyte of `String`s.
#[test]
fn an_array_of_millions_of_empty_strings_is_refused() {
    let zeros = vec![0; 16 << 20];
    let bytes = tiny_with(&[value(1049, 8, zeros.len() as u32, zeros)]);
    let why = "too large: 16777216 elements in an array, at most 262144 are read";
    assert_eq!(refused(&bytes), why);
}

/// 1,024 arrays over the same 16 MiB would be 16 GiB of scanning if they were allowed to overlap.
#[test]
fn overlapping_arrays_cost_one_scan_only() {
    let store = vec![0; 16 << 20];
    let index: Vec<u8> = (0..1024).flat_map(|i| entry(2000 + i, 8, 0, store.len() as u32)).collect();
    let bytes = tiny_around(&raw_header(1024, store.len() as u32, &index, &store));
    let why = "malformed header: tag 2001 overlaps the value before it";
    assert_eq!(refused(&bytes), why);
}

/// Several changes at once, from a fixed seed, in the places that steer a parser: an answer is all that is asked.
#[test]
fn random_damage_always_gets_an_answer() {
    let mut seed: u64 = 0x6d6f_6a69_0000_0002;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let good = &real().source.bytes[..];
    let interesting = [0, 1, 0x7f, 0x80, 0xff];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let mut bytes = good.to_vec();
        for _ in 0..=next() % 4 {
            let at = next() as usize % bytes.len();
            bytes[at] = interesting[next() as usize % interesting.len()];
        }
        bytes.truncate(bytes.len() - (next() % 3) as usize / 2);
        let _ = expected_len(&bytes);
        let _ = verify_digests(&bytes[..]);
        match read_facts(&bytes[..]) {
            Ok(_) => taken += 1,
            Err(e) => {
                assert!(!e.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn a_folder_is_an_error_and_not_a_package() {
    let folder = File::open("/").unwrap();
    assert!(read_facts(&folder).is_err());
    let null = File::open("/dev/zero").unwrap();
    assert!(matches!(read_facts(&null), Err(RpmError::Truncated { .. })));
}
