//! `--mainline`: what repositories of other people have, so that a package whose BuildRequires nobody can provide
//! does not waste a board's hour.
//!
//! Owns a thread that asks the mirrors, `STATE/mainline/` where what they said is kept, and how little of it is
//! believed: whatever a mirror sends, the hub takes bounded memory, disk and time over it, and does not end. What comes of
//! it only decides what is built when; nothing is installed because of it. Knows no package that waits, and decides nothing:
//! whoever starts the thread is handed one [`Capabilities`] of all repositories.
//!
//! | file | owns |
//! |---|---|
//! | `place.rs` | what may be given |
//! | `fetch.rs` | HTTP and folders |
//! | `repomd.rs`, `primary.rs`, `xml.rs` | what the files mean, and the limits of XML |
//! | `unpack.rs` | gzip, zstd, xz and their limits |
//! | `arch.rs` | whose packages a chroot can use |
//! | `kept.rs` | what is kept |
//! | `look.rs` | when who is asked, and what is done about one that is away |

pub(crate) mod arch;
mod fetch;
mod kept;
mod look;
pub(crate) mod place;
pub(crate) mod primary;
pub(crate) mod repomd;
#[cfg(test)]
mod tests;
pub(crate) mod unpack;
pub(crate) mod xml;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::actors::{self, Woken};
use crate::core::capabilities::Capabilities;

pub use look::Setup;
pub use place::Place;

use look::Mainline;

/// The readers of other people's indexes, for the fuzz targets in `tests/fuzz` alone.
#[doc(hidden)]
pub mod fuzzing {
    use super::{primary, repomd, unpack};

    /// What a `repomd.xml` says of its `primary`, if it can be used.
    #[must_use]
    pub fn repomd(bytes: &[u8]) -> Option<String> {
        repomd::files(bytes).ok().map(|found| format!("{found:?} {}", found.primary.is_sane()))
    }

    /// How many packages a `primary`, packed or not, has for a target.
    #[must_use]
    pub fn primary(bytes: &[u8], target: Option<&str>) -> Option<usize> {
        let mut packages = 0;
        let read = primary::read(unpack::open(bytes).ok()?, target, |_, _| {
            packages += 1;
            Ok::<_, primary::PrimaryError>(())
        });
        read.ok().map(|()| packages)
    }
}

/// Reaches the thread. Its channel is bounded by how often people send SIGHUP.
pub struct Handle {
    inbox: Sender<LookAgain>,
}

/// All mirrors are to be asked now.
struct LookAgain;

impl Handle {
    /// Has all mirrors asked whether they changed.
    pub fn look_again(&self) {
        actors::tell(&self.inbox, LookAgain);
    }
}

/// Starts the thread. It hands what all repositories have to `deliver`: what was kept at once, then whenever it changed.
/// It ends after `stop`'s senders are gone; nobody waits for that, because it may hang on a mirror: whatever it is at
/// can be broken off.
pub fn start(
    setup: Setup,
    stop: Receiver<()>,
    mut deliver: impl FnMut(Capabilities) + Send + 'static,
) -> Handle {
    let (inbox, again) = unbounded();
    let clock = setup.clock.clone();
    actors::spawn("mainline", move || {
        let mut mainline = Mainline::open(setup, ureq::Proxy::try_from_env());
        if let Some(there) = mainline.remember() {
            deliver(there);
        }
        let mut all = false;
        loop {
            if let Some(there) = mainline.look(all) {
                deliver(there);
            }
            all = match actors::wait(&again, &stop, &*clock, mainline.deadline()) {
                Woken::Msg(LookAgain) => {
                    again.try_iter().for_each(|LookAgain| ());
                    true
                }
                Woken::Tick => false,
                Woken::Stop => return,
            };
        }
    });
    Handle { inbox }
}
