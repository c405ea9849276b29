//! A connection to the hub, up to the first answer that proves that it is the hub.
//!
//! Owns addresses, the handshake and what is said if it fails. Never tries twice: that is
//! [`super::retry`]'s.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use moji_proto::channel::{self, Channel, ChannelError, Connect};
use moji_proto::hello::{Role, Versions};
use moji_proto::limits::{HANDSHAKE_MAX_MS, SILENCE_MAX_MS};
use moji_proto::message::{FromOperator, ToOperator};
use moji_proto::refusal::Refusal;
use moji_proto::secret::SecretKey;
use moji_proto::{FileName, Line, PublicKey};

use super::link::{Lost, Session};
use super::settings::{self, Access};
use super::{code, known};
use crate::exit::Failure;

/// How long the hub may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For each address to answer.
    pub(super) connect: Duration,
    /// For the handshake and the first answer.
    pub(super) handshake: Duration,
    /// Silence after which the connection counts as dead.
    pub(super) silence: Duration,
}

impl Patience {
    /// A person waits for the answer: 10 s an address, and the wire's limits.
    pub const COMMAND: Patience = Patience {
        connect: Duration::from_secs(10),
        handshake: Duration::from_millis(HANDSHAKE_MAX_MS),
        silence: Duration::from_millis(SILENCE_MAX_MS),
    };
    /// A person looks at a screen and may want to leave it: 2 s.
    pub const SCREEN: Patience = Patience {
        connect: Duration::from_secs(2),
        handshake: Duration::from_secs(2),
        silence: Duration::from_secs(10),
    };
    /// A shell waits at each press of Tab: 1 s to connect and 1 s to answer.
    pub(super) const COMPLETION: Patience = Patience {
        connect: Duration::from_millis(500),
        handshake: Duration::from_millis(500),
        silence: Duration::from_secs(1),
    };
}

/// Connects, proves both ends to each other, and says who we are.
///
/// # Errors
/// [`Lost::Away`] if it may be otherwise in a moment, [`Lost::For`] if somebody has to do something.
pub fn open(access: &Access, patience: Patience) -> Result<Session, Lost> {
    let hub = access.hub();
    let pinned = match (access.hub_key, &access.state) {
        (Some(key), _) => Some(key),
        (None, Some(folder)) => known::find(folder, &hub)?,
        (None, None) => None,
    };
    let stream = connect(access, patience)?;
    // Requests are small and should not wait.
    let _ = stream.set_nodelay(true);
    let mut hello = Vec::new();
    let key = SecretKey::generate();
    let channel = Channel::connect(
        Connect {
            role: Role::Operator,
            versions: Versions::OURS,
            key: &key,
            psk: access.psk.clone(),
            hub_key: pinned,
        },
        &mut hello,
    );
    let mut session = Session::new(stream, channel, hub, patience.silence);
    let until = Instant::now() + patience.handshake;
    let peer = shake_hands(&mut session, &hello, until, access)?;
    // Only an answer proves that the hub took the secret, and that it has it.
    session.say(&hail())?;
    session.say(&FromOperator::Ping)?;
    match session.message(until).map_err(|lost| lost_early(lost, access))? {
        Some(ToOperator::Pong) => {}
        Some(other) => return Err(session.nonsense(&other)),
        None => return Err(silent(&session)),
    }
    if pinned.is_none() {
        remember(access, &peer);
    }
    Ok(session)
}

fn connect(access: &Access, patience: Patience) -> Result<TcpStream, Lost> {
    let hub = access.hub();
    let addresses: Vec<SocketAddr> = match (access.host.as_str(), access.port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Err(Lost::Away(format!("cannot find the host {}: {error}", access.host))),
    };
    let mut last = "it has no address".to_owned();
    for address in &addresses {
        match TcpStream::connect_timeout(address, patience.connect) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                last = format!("no answer from {} within {} s", address.ip(), patience.connect.as_secs());
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(Lost::Away(format!("cannot connect to the hub {hub}: {last}: does moji-server run there?")))
}

fn shake_hands(
    session: &mut Session,
    hello: &[u8],
    until: Instant,
    access: &Access,
) -> Result<PublicKey, Lost> {
    session.write(hello)?;
    match session.event(until) {
        Ok(Some(channel::Event::Established { peer, .. })) => Ok(peer),
        Ok(Some(channel::Event::Refused(refusal))) => Err(refused(refusal, access)),
        Ok(Some(channel::Event::Record(_))) => unreachable!("a record comes after the handshake"),
        Ok(None) => Err(silent(session)),
        Err(lost) => Err(lost_early(lost, access)),
    }
}

fn silent(session: &Session) -> Lost {
    Lost::Away(format!("{} accepts connections but says nothing: is it a moji hub?", session.hub()))
}

/// What can only go wrong before the hub has answered once.
fn lost_early(lost: Lost, access: &Access) -> Lost {
    let hub = access.hub();
    match lost {
        Lost::Refused(refusal) => refused(refusal, access),
        Lost::Channel(ChannelError::WrongHubKey { pinned, offered }) => {
            let hint = match (&access.secret_from, access.hub_key, &access.state) {
                (Some(path), Some(_), _) => {
                    format!("compare {} with 'moji-server token --operator' on the hub", path.display())
                }
                (_, _, Some(folder)) => {
                    format!("if it was set up anew, delete its line from {}", known::path(folder).display())
                }
                _ => "it may be another machine".to_owned(),
            };
            let (pinned, offered) = (pinned.fingerprint(), offered.fingerprint());
            fatal(format!("{hub} is not the hub we know: its key is {offered}…, not {pinned}…: {hint}"))
        }
        Lost::Channel(ChannelError::NoCommonVersion { ours, theirs }) => {
            fatal(format!("{hub} speaks protocol version {theirs}, this moji {ours}: upgrade the older one"))
        }
        Lost::Channel(error) => fatal(format!("{hub} does not answer as a moji hub does: {error}")),
        other => other,
    }
}

fn refused(refusal: Refusal, access: &Access) -> Lost {
    let hub = access.hub();
    match (refusal, &access.secret_from) {
        (Refusal::Full, _) => Lost::Away(format!("{hub} has too many connections: try again later")),
        (Refusal::Secret, Some(path)) => fatal(format!(
            "{hub} does not take the secret in {}: compare it with 'moji-server token --operator' on the hub",
            path.display()
        )),
        (Refusal::Secret, None) => fatal(format!(
            "{hub} wants a secret: give --password-file FILE ('moji-server token --operator' on the hub prints it)"
        )),
        (Refusal::Address, _) => fatal(format!(
            "{hub} has no secret for operators and serves those of its own machine only: run \
             'moji-server token --operator' there and give what it prints by --password-file"
        )),
        (Refusal::Version, _) => {
            fatal(format!("{hub} and this moji share no protocol version: upgrade the older one"))
        }
        (other, _) => fatal(format!("{hub} refused: {other}")),
    }
}

fn fatal(text: String) -> Lost {
    Lost::For(Failure::new(code::HUB, text))
}

fn hail() -> FromOperator {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    let user = user.map_or_else(|| uid.to_string(), |user| user.name);
    let host = nix::unistd::gethostname().unwrap_or_default();
    FromOperator::Hail {
        user: Line::lossy(&user),
        host: Line::lossy(&host.to_string_lossy()),
        version: FileName::new(env!("CARGO_PKG_VERSION")).expect("a version is a file name"),
    }
}

fn remember(access: &Access, key: &PublicKey) {
    let kept = match &access.state {
        Some(folder) => settings::make(folder)
            .and_then(|()| known::keep(folder, &access.hub(), key))
            .map_err(|error| format!("in {}: {error}", known::path(folder).display())),
        None => Err(": HOME is not set".to_owned()),
    };
    if let Err(why) = kept {
        eprintln!("moji: cannot remember the key of {} {why}", access.hub());
    }
}
