//! A few hundred strangers: no build is kept from its end, and none of them leaves more than a line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use moji_tests::{Farm, Outcome, SOON};

use crate::quick::quick;
use crate::{descriptors, honest_builder_goes_on};

#[test]
fn two_hundred_strangers_do_not_keep_a_build_from_its_end() {
    let mut farm = Farm::plan().start();
    let pid = farm.hub().pid();
    let package = quick(&farm, "quiet", "1");
    let gate = farm.gate("quiet");
    let outcome = Outcome::exit(0)
        .gate(&gate)
        .file("quiet-1-1.src.rpm", &package.srpm)
        .file("quiet-1-1.noarch.rpm", &package.rpm);
    farm.outcome(&package.file, outcome);
    farm.drop_file(&package.srpm);
    farm.wait_until("the build to run", SOON, |farm| farm.is_in("working", &package.file));
    let before = descriptors(pid);
    let hello = b"moji\0\x01\0\x02\0\x02\0\0\0\0\0\0";
    let strangers: Vec<TcpStream> = (0..200u32)
        .map(|number| {
            let mut stream = TcpStream::connect(farm.hub_addr()).expect("the hub accepts");
            let junk: Vec<u8> = (0..2000u32).map(|i| (i * 31 + number * 7) as u8).collect();
            let words: &[u8] = match number % 5 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
                2 => &junk,
                3 => &hello[..7],
                _ => hello,
            };
            // The hub may have hung up on us in the middle.
            let _ = stream.write_all(words);
            if number % 5 == 4 {
                let _ = stream.write_all(&junk[..48]);
            }
            stream
        })
        .collect();
    farm.open_gate("quiet");
    farm.wait_finished(&package.file);
    assert_eq!(farm.result_json("quiet-1-1")["verdict"], "success");
    honest_builder_goes_on(&mut farm, pid);
    for (number, mut stream) in strangers.into_iter().enumerate() {
        if matches!(number % 5, 1 | 2) {
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
            let mut rest = Vec::new();
            // A reset is an end as well.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty() || rest.starts_with(&[0, 0]), "garbage gets a refusal at most");
        }
    }
    farm.wait_until("the hub to let go of them", SOON, |_| descriptors(pid) <= before + 8);
    let lines = farm.hub().log_text().lines().filter(|line| line.contains(" addr=")).count();
    assert!(lines < 20, "strangers fill the log: {}", farm.hub().log_text());
    assert_eq!(farm.builder(0).log_count("next attempt"), 0, "the builder was cut off");
}
