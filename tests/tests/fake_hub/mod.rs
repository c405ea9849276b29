//! A hub of the test's own, to be wrong in ways that the real one is not.
//!
//! Owns a port on loopback and one thread; both end when it is dropped. Must never write a file.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use moji_proto::channel::{Accept, Channel, Event};
use moji_proto::hello::Versions;
use moji_proto::message::{FromBuilder, Message, ToBuilder};
use moji_proto::secret::{Psk, SecretKey};

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// How it is wrong.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// It answers these bytes to whatever comes, and closes.
    Says(Vec<u8>),
    /// It is a true hub without a secret, but its clock is so many seconds ahead.
    ClockAhead(u64),
}

/// The hub.
pub(crate) struct FakeHub {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    heard: Arc<Mutex<Vec<FromBuilder>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHub {
    /// Opens the port.
    pub(crate) fn start(trick: Trick) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener without waiting");
        let addr = listener.local_addr().expect("an address");
        let (heard, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (ears, end) = (heard.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).expect("a stream that waits");
                        stream.set_read_timeout(Some(LOOK)).expect("a timeout");
                        // A peer that goes away ends its own connection only.
                        let _ = serve(stream, &trick, &ears, &end);
                    }
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        FakeHub { addr, heard, stop, thread: Some(thread) }
    }

    /// What builders have said.
    pub(crate) fn heard(&self) -> Vec<FromBuilder> {
        self.heard.lock().expect("no panic under the lock").clone()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    trick: &Trick,
    heard: &Mutex<Vec<FromBuilder>>,
    end: &AtomicBool,
) -> std::io::Result<()> {
    let ahead_s = match trick {
        Trick::Says(bytes) => {
            let mut buffer = [0; 64];
            let _ = stream.read(&mut buffer)?;
            return stream.write_all(bytes);
        }
        Trick::ClockAhead(seconds) => *seconds,
    };
    let accept = Accept {
        versions: Versions::OURS,
        key: &SecretKey::from_bytes([7; 32]),
        builder_secrets: &[Psk::NONE],
        operator_secrets: &[],
    };
    let mut channel = Channel::accept(accept);
    let mut buffer = [0; 4096];
    while !end.load(Ordering::Relaxed) {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let (mut at, mut out) = (0, Vec::new());
        while at < count {
            let (taken, event) = channel.receive(&buffer[at..count], &mut out).expect("a true peer");
            at += taken;
            let Some(Event::Record(plain)) = event else { continue };
            let message = FromBuilder::decode(&plain).expect("a message");
            let answer = match &message {
                FromBuilder::Register { .. } => Some(ToBuilder::Registered {
                    time_unix_s: unix_s() + ahead_s,
                    ping_s: 20,
                    http_port: 0,
                    repos: 0,
                }),
                FromBuilder::Ping { .. } => Some(ToBuilder::Pong),
                _ => None,
            };
            heard.lock().expect("no panic under the lock").push(message);
            if let Some(answer) = answer {
                channel.send(&answer, &mut out).expect("an open channel");
            }
        }
        stream.write_all(&out)?;
    }
    Ok(())
}

fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a clock behind 1970 is wrong").as_secs()
}
