//! States, verdicts and kinds as words: those that `moji` prints, and takes on its command line.
//!
//! Owns the words. Each type has the variants of the one of the same name on the wire; a variant more there does not
//! compile here until it has a word.

use std::fmt;
use std::str::FromStr;

use moji_proto::message as wire;
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$note])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        // Derived, it would not see the words: a macro's literals are hidden from it.
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = $name::ALL.iter().map(|one| one.as_str());
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $name {}

        impl From<wire::$name> for $name {
            fn from(wire: wire::$name) -> $name {
                match wire {
                    $(wire::$name::$variant => $name::$variant,)*
                }
            }
        }

        impl From<$name> for wire::$name {
            fn from(own: $name) -> wire::$name {
                match own {
                    $($name::$variant => wire::$name::$variant,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                let found = $name::ALL.iter().find(|one| one.as_str() == text);
                let words = || $name::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
                found.copied().ok_or_else(|| format!("'{text}' is none of {}", words()))
            }
        }
    };
}

words! {
    /// Where a package is.
    PackageState {
        /// In `source/`, may be leased.
        Waiting = "waiting",
        /// In `source/`, waits for capabilities.
        Deps = "deps",
        /// In `source/`, and another file holds the same package.
        Duplicate = "duplicate",
        /// In `source/`, no whole SRPM.
        Unusable = "unusable",
        /// Leased.
        Building = "building",
        /// Published.
        Success = "success",
        /// Built in vain.
        Failed = "failed",
        /// Not for this architecture.
        Excluded = "excluded",
        /// Built, and waits for `moji accept` or `moji refuse`.
        Review = "review",
        /// Ended by an operator.
        Cancelled = "cancelled",
        /// In `finished/`, put there by somebody else.
        Finished = "finished",
    }
}

impl PackageState {
    /// Whether nothing more happens to the package by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        wire::PackageState::from(self).is_final()
    }
}

words! {
    /// How a builder is.
    BuilderState {
        /// Waits for a package.
        Idle = "idle",
        /// Has one.
        Busy = "busy",
        /// Has one and gets no other.
        Draining = "draining",
        /// Has none and gets none.
        Drained = "drained",
        /// Gets nothing because of what it did to the last packages, or an operator said so.
        Quarantined = "quarantined",
        /// Takes nothing, as it says itself: its clock, its disk.
        Troubled = "troubled",
        /// Builds for another architecture than the repository.
        Unfit = "unfit",
        /// Not connected.
        Away = "away",
        /// Turned away: not in the list of builders.
        Unlisted = "unlisted",
    }
}

words! {
    /// What happened.
    EventKind {
        /// A package came into the queue, for the first time or again.
        Waiting = "waiting",
        /// A package is held.
        Held = "held",
        /// A package was leased.
        Leased = "leased",
        /// A build came to another phase.
        Phase = "phase",
        /// A lease ended, with a verdict where there is one.
        Ended = "ended",
        /// A package left the queue without a build.
        Left = "left",
        /// A new index is live.
        Published = "published",
        /// A builder connected.
        BuilderUp = "builder-up",
        /// A builder's connection ended.
        BuilderDown = "builder-down",
        /// A builder's standing changed.
        Builder = "builder",
        /// From now on nothing is leased, or only one package at a time.
        Blocked = "blocked",
        /// Leasing goes on.
        Unblocked = "unblocked",
        /// An operator changed something.
        Ordered = "ordered",
        /// A build began again since its thin repository was not enough.
        Again = "again",
    }
}

words! {
    /// Where a build is.
    Phase {
        /// The SRPM is on its way to the builder.
        Fetch = "fetch",
        /// mock makes the chroot.
        Init = "init",
        /// mock installs BuildRequires.
        Setup = "setup",
        /// rpmbuild runs.
        Build = "build",
        /// mock is done; what it left is hashed and synced.
        Collect = "collect",
        /// The result is on its way to the hub.
        Upload = "upload",
    }
}

words! {
    /// What the hub ruled about an attempt.
    Verdict {
        /// Built and published.
        Success = "success",
        /// ExclusiveArch or ExcludeArch rules the builder's architecture out.
        Excluded = "excluded",
        /// The builder's or the world's fault.
        Infra = "infra",
        /// Ran out of memory.
        Memory = "memory",
        /// A BuildRequires is not there yet.
        Deps = "deps",
        /// The package's own fault.
        Failed = "failed",
        /// The builder vanished, or its shim died.
        Lost = "lost",
        /// The builder gave it back.
        Released = "released",
        /// The builder ended it: silent, or at work, for too long.
        Timeout = "timeout",
    }
}

words! {
    /// A log of a build.
    Which {
        /// rpmbuild's output.
        Build = "build",
        /// dnf's output.
        Root = "root",
        /// mock's phases.
        State = "state",
        /// What mock itself wrote.
        Mock = "mock",
    }
}

words! {
    /// What builds.
    Backend {
        /// mock.
        Mock = "mock",
        /// rpmbuild, without a chroot.
        Rpmbuild = "rpmbuild",
    }
}

words! {
    /// What keeps a builder from work, as it says itself.
    Trouble {
        /// Its clock is minutes off the hub's.
        Clock = "clock",
        /// Its disk is too full for a build.
        Disk = "disk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_description_and_command_line_have_the_same_words() {
        macro_rules! check {
            ($($name:ident)*) => {$({
                let schema = serde_json::to_value($name::schema()).unwrap();
                let json: Vec<_> = $name::ALL.iter().map(|one| serde_json::to_value(one).unwrap()).collect();
                assert_eq!(schema["enum"], serde_json::Value::from(json));
                for one in $name::ALL {
                    assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
                    assert_eq!(one.as_str().parse(), Ok(*one));
                }
                assert!("no-such-word".parse::<$name>().unwrap_err().contains($name::ALL[0].as_str()));
            })*};
        }
        check!(PackageState BuilderState EventKind Phase Verdict Which Backend Trouble);
        // As moji prints them.
        assert!(PackageState::ALL.iter().all(|one| wire::PackageState::from(*one).as_str() == one.as_str()));
        assert!(BuilderState::ALL.iter().all(|one| wire::BuilderState::from(*one).as_str() == one.as_str()));
        assert!(EventKind::ALL.iter().all(|one| wire::EventKind::from(*one).as_str() == one.as_str()));
        assert!(Verdict::ALL.iter().all(|one| wire::Verdict::from(*one).as_str() == one.as_str()));
    }
}
