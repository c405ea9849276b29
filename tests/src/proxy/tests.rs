//! The proxy in front of a server that sends everything back.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use super::*;
use crate::world::poll_until;

const LIMIT: Duration = Duration::from_secs(10);

/// A proxy in front of a server that sends everything back.
fn echo() -> Proxy {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a copy");
                let _ = std::io::copy(&mut &stream, &mut writer);
                // The proxy must see the end although this test holds no other copy.
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    });
    Proxy::new(addr)
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    stream
}

fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut back = vec![0; bytes.len()];
    stream.write_all(bytes).is_ok() && stream.read_exact(&mut back).is_ok() && back == bytes
}

/// True when the other side is gone, whether by an end of file or a reset.
fn is_cut(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(why) => why.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn bytes_pass_and_are_counted() {
    let proxy = echo();
    let mut stream = client(&proxy);
    let big = vec![7; 300_000];
    stream.write_all(&big[..1]).expect("writes");
    let mut one = [0];
    stream.read_exact(&mut one).expect("comes back");
    assert!(echoed(&mut stream, b"hello"));
    assert_eq!((proxy.bytes(Direction::ToHub), proxy.bytes(Direction::ToBuilder)), (6, 6));
    assert_eq!((proxy.connections(), proxy.live()), (1, 1));
}

#[test]
fn a_cut_ends_all_connections_and_a_new_one_works() {
    let proxy = echo();
    let mut streams = [client(&proxy), client(&proxy)];
    assert!(streams.iter_mut().all(|stream| echoed(stream, b"x")));
    proxy.cut();
    assert!(streams.iter_mut().all(is_cut));
    assert!(echoed(&mut client(&proxy), b"again"));
}

#[test]
fn a_trip_lets_exactly_that_many_bytes_through() {
    let proxy = echo();
    let mut stream = client(&proxy);
    assert!(echoed(&mut stream, b"12345"));
    proxy.cut_after(Direction::ToHub, 3);
    stream.write_all(b"abcdef").expect("writes");
    assert!(poll_until(LIMIT, || proxy.trips() == 1));
    assert_eq!(proxy.bytes(Direction::ToHub), 8);
    assert!(poll_until(LIMIT, || proxy.live() == 0));
    assert!(echoed(&mut client(&proxy), b"a trip works once"));
}

#[test]
fn a_stall_holds_bytes_back_until_it_ends() {
    let proxy = echo();
    let mut stream = client(&proxy);
    assert!(echoed(&mut stream, b"x"));
    proxy.stall(true);
    stream.write_all(b"held").expect("writes");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    assert!(stream.read(&mut [0; 4]).is_err());
    assert_eq!(proxy.bytes(Direction::ToHub), 1);
    proxy.stall(false);
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let mut back = [0; 4];
    stream.read_exact(&mut back).expect("comes back");
    assert_eq!(&back, b"held");
}

#[test]
fn a_delay_is_felt_in_both_directions() {
    let proxy = echo();
    let mut stream = client(&proxy);
    proxy.delay(Duration::from_millis(60));
    let began = Instant::now();
    assert!(echoed(&mut stream, b"slow"));
    assert!(began.elapsed() >= Duration::from_millis(120));
}

#[test]
fn refused_connections_are_closed_until_welcome_again() {
    let proxy = echo();
    proxy.refuse(true);
    assert!(is_cut(&mut client(&proxy)));
    proxy.refuse(false);
    assert!(echoed(&mut client(&proxy), b"welcome"));
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn dropping_a_stalled_proxy_ends_its_connections() {
    let proxy = echo();
    let mut stream = client(&proxy);
    assert!(echoed(&mut stream, b"x"));
    proxy.stall(true);
    stream.write_all(b"never").expect("writes");
    drop(proxy);
    assert!(is_cut(&mut stream));
}

/// The fate of being struck so.
fn struck(way: Direction, after: u64, fault: Fault) -> Fate {
    Fate { strike: Some(Strike { way, after, fault }), ..Fate::default() }
}

/// A proxy whose first connection has this fate; the others are left in peace.
fn first(fate: Fate) -> Proxy {
    let proxy = echo();
    proxy.script(move |number| if number == 1 { fate } else { Fate::default() });
    proxy
}

/// Nothing comes, not even an end.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(150))).expect("a time-out");
    stream.read(&mut [0]).is_err_and(|why| why.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn one_bit_of_one_byte_is_flipped_and_no_other() {
    for way in Direction::BOTH {
        let proxy = first(struck(way, 2, Fault::Flip(0)));
        let mut stream = client(&proxy);
        stream.write_all(b"aaaa").expect("writes");
        let mut back = [0; 4];
        stream.read_exact(&mut back).expect("comes back");
        assert_eq!(&back, b"aa`a");
        assert!(echoed(&mut stream, b"all is well again"));
        assert_eq!(proxy.struck()["flip"], 1);
    }
}

#[test]
fn a_reset_is_a_reset_and_no_end() {
    let proxy = first(struck(Direction::ToHub, 3, Fault::Reset));
    let mut stream = client(&proxy);
    assert!(echoed(&mut stream, b"abc"));
    stream.write_all(b"d").expect("writes");
    let why = stream.read(&mut [0]).expect_err("a reset");
    assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset);
    let mut next = client(&proxy);
    assert!(echoed(&mut next, b"again"));
    proxy.reset();
    let why = next.read(&mut [0]).expect_err("a reset");
    assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_half_open_connection_is_silent_until_its_reset() {
    for (way, passes) in [(Direction::ToHub, 2), (Direction::ToBuilder, 4)] {
        let proxy = first(struck(way, 2, Fault::HalfOpen(Some(Duration::from_millis(400)))));
        let mut stream = client(&proxy);
        stream.write_all(b"abcd").expect("writes");
        let mut back = [0; 2];
        stream.read_exact(&mut back).expect("what came before");
        assert!(is_silent(&mut stream));
        assert_eq!(proxy.bytes(Direction::ToHub), passes, "the other direction lives");
        stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
        assert!(is_cut(&mut stream));
    }
}

#[test]
fn a_black_hole_swallows_the_end_too() {
    let proxy = echo();
    let mut stream = client(&proxy);
    assert!(echoed(&mut stream, b"x"));
    // It needs no byte to strike.
    let strike = Strike { way: Direction::ToHub, after: 0, fault: Fault::BlackHole(None) };
    assert!(proxy.strike(1, strike) && !proxy.strike(2, strike));
    assert_eq!(proxy.struck()["black hole"], 1);
    stream.write_all(b"lost").expect("writes");
    assert!(is_silent(&mut stream));
    drop(stream);
    assert!(!poll_until(Duration::from_millis(200), || proxy.live() == 0));
    assert!(echoed(&mut client(&proxy), b"others live"));
}

#[test]
fn what_was_sent_before_an_end_arrives_after_a_later_connection_has_begun() {
    let proxy = first(struck(Direction::ToHub, 1, Fault::Late(3)));
    let mut old = client(&proxy);
    old.write_all(b"abc").expect("writes");
    assert!(poll_until(LIMIT, || proxy.struck().contains_key("late")));
    assert!(old.read_to_end(&mut Vec::new()).is_ok_and(|length| length <= 1));
    assert_eq!(proxy.bytes(Direction::ToHub), 1);
    assert!(echoed(&mut client(&proxy), b"new"));
    assert!(poll_until(LIMIT, || proxy.bytes(Direction::ToHub) == 6));
}

#[test]
fn a_later_connection_can_be_served_first() {
    let proxy = first(Fate { after_next: Some(2), ..Fate::default() });
    let mut slow = client(&proxy);
    slow.write_all(b"held").expect("writes");
    assert!(is_silent(&mut slow));
    assert!(echoed(&mut client(&proxy), b"first"));
    slow.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let mut back = [0; 4];
    slow.read_exact(&mut back).expect("comes back");
    assert_eq!(&back, b"held");
}

#[test]
fn a_jittery_trickle_changes_nothing() {
    let ms = Duration::from_millis;
    let proxy = first(Fate { delay: ms(1), jitter: ms(3), piece: 1, ..Fate::default() });
    let mut stream = client(&proxy);
    let text: Vec<u8> = (0..2_000u32).map(|n| (n % 251) as u8).collect();
    assert!(echoed(&mut stream, &text));
}
