//! Who may say what when, for an operator's session: default deny.
//!
//! Owns the order as the hub enforces it. Never looks at what a request is about.
//!
//! ```text
//! Greeting ──Hail──▶ Idle ──a request──▶ Words{left} ──last Word──▶ Answering
//!                     ▲                                                 │
//!                     └──────────────────── End sent ───────────────────┘
//! ```
//!
//! `Ping` and `More` may come at any time after `Hail`. `Data` may come while a `Submit` is answered, and
//! after its end until the next request: it was on its way when the hub gave up.

use super::within;
use crate::limits::{OPTIONS_MAX, WORDS_MAX};
use crate::message::FromOperator;
use crate::refusal::RejectCode;

/// Where an operator's session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was said yet.
    Greeting,
    /// No request runs.
    Idle {
        /// The last one was a `Submit`.
        upload: bool,
    },
    /// So many words of the request are still to come.
    Words {
        /// How many.
        left: u8,
        /// The request is a `Submit`.
        upload: bool,
    },
    /// The hub answers.
    Answering {
        /// The request is a `Submit`.
        upload: bool,
    },
}

/// The order of one operator's session.
#[derive(Debug)]
pub struct OperatorOrder {
    state: State,
}

impl Default for OperatorOrder {
    fn default() -> OperatorOrder {
        OperatorOrder { state: State::Greeting }
    }
}

impl OperatorOrder {
    /// Where the session is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes the operator's next message.
    ///
    /// # Errors
    /// `Order` if it may not come now, `Limit` if a number in it is over its limit. The session is
    /// to be closed with that code; the state stays as it was.
    pub fn admit(&mut self, message: &FromOperator) -> Result<(), RejectCode> {
        use FromOperator as M;
        self.state = match (self.state, message) {
            (State::Greeting, M::Hail { .. }) => State::Idle { upload: false },
            (State::Greeting, _) | (_, M::Hail { .. }) => return Err(RejectCode::Order),
            (state, M::Ping | M::More { .. }) => state,
            (state @ (State::Idle { upload: true } | State::Answering { upload: true }), M::Data { .. }) => {
                state
            }
            (State::Words { left, upload }, M::Word { .. }) => asked(left - 1, upload),
            (State::Idle { .. }, M::Submit { options, .. }) => {
                within(*options <= OPTIONS_MAX)?;
                asked(*options, true)
            }
            (State::Idle { .. }, M::Change { words, .. }) => {
                within(*words <= WORDS_MAX)?;
                asked(*words, false)
            }
            (
                State::Idle { .. },
                M::Status
                | M::List { .. }
                | M::Show { .. }
                | M::Builders { .. }
                | M::History { .. }
                | M::Log { .. }
                | M::Events { .. }
                | M::Names { .. }
                | M::Why { .. }
                | M::Blocked { .. },
            ) => asked(0, false),
            _ => return Err(RejectCode::Order),
        };
        Ok(())
    }

    /// The hub sent `End`.
    ///
    /// # Panics
    /// If no request runs.
    pub fn ended(&mut self) {
        let State::Answering { upload } = self.state else { panic!("an answer ended that nobody asked for") };
        self.state = State::Idle { upload };
    }
}

fn asked(left: u8, upload: bool) -> State {
    if left == 0 { State::Answering { upload } } else { State::Words { left, upload } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Line;
    use crate::message::{FromOperator as M, Message, Order, samples};

    fn with_words(message: FromOperator, count: u8) -> FromOperator {
        match message {
            M::Submit { name, size, digest, first, .. } => {
                M::Submit { name, size, digest, first, options: count }
            }
            M::Change { order, target, .. } => M::Change { order, target, words: count },
            other => other,
        }
    }

    fn at(state: State) -> OperatorOrder {
        OperatorOrder { state }
    }

    /// Columns: Greeting, Idle, Idle after a submit, Words, Answering, Answering a submit.
    const STATES: [State; 6] = [
        State::Greeting,
        State::Idle { upload: false },
        State::Idle { upload: true },
        State::Words { left: 1, upload: false },
        State::Answering { upload: false },
        State::Answering { upload: true },
    ];

    fn row(message: &FromOperator) -> [u8; 6] {
        match message {
            M::Hail { .. } => [1, 0, 0, 0, 0, 0],
            M::Ping | M::More { .. } => [0, 1, 1, 1, 1, 1],
            M::Word { .. } => [0, 0, 0, 1, 0, 0],
            M::Data { .. } => [0, 0, 1, 0, 0, 1],
            M::Status
            | M::List { .. }
            | M::Show { .. }
            | M::Builders { .. }
            | M::History { .. }
            | M::Log { .. }
            | M::Events { .. }
            | M::Submit { .. }
            | M::Change { .. }
            | M::Names { .. }
            | M::Why { .. }
            | M::Blocked { .. } => [0, 1, 1, 0, 0, 0],
        }
    }

    #[test]
    fn every_message_is_admitted_in_exactly_the_states_of_its_row() {
        let mut seen = [false; FromOperator::VARIANTS as usize];
        for message in samples::from_operator() {
            let message = with_words(message, 0);
            seen[samples::variant(&message)] = true;
            for (state, may) in STATES.into_iter().zip(row(&message)) {
                let mut order = at(state);
                let want = if may == 1 { Ok(()) } else { Err(RejectCode::Order) };
                assert_eq!(order.admit(&message), want, "{message:?} in {state:?}");
                if want.is_err() {
                    assert_eq!(order.state(), state, "{message:?}");
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen), "a message has no sample: {seen:?}");
    }

    #[test]
    fn a_request_has_its_announced_words_and_then_one_answer() {
        for count in [0, 1, WORDS_MAX] {
            let mut order = at(State::Idle { upload: false });
            let change = M::Change { order: Order::Approve, target: Line::lossy("b"), words: count };
            assert_eq!(order.admit(&change), Ok(()));
            for _ in 0..count {
                assert_eq!(order.admit(&M::Status), Err(RejectCode::Order));
                assert_eq!(order.admit(&M::Word { word: Line::lossy("w") }), Ok(()));
            }
            assert_eq!(order.state(), State::Answering { upload: false });
            assert_eq!(order.admit(&M::Status), Err(RejectCode::Order));
            order.ended();
            assert_eq!(order.admit(&M::Status), Ok(()));
        }
    }

    #[test]
    fn numbers_over_their_limits_are_refused() {
        for sample in samples::from_operator() {
            let max = match sample {
                M::Submit { .. } => OPTIONS_MAX,
                M::Change { .. } => WORDS_MAX,
                _ => continue,
            };
            let mut order = at(State::Idle { upload: false });
            assert_eq!(order.admit(&with_words(sample.clone(), max + 1)), Err(RejectCode::Limit));
            assert_eq!(order.admit(&with_words(sample, max)), Ok(()));
        }
    }
}
