//! Sessions of the web with the desk's real core, by hand: nothing moves until a test says so.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use moji_proto::Time;
use moji_proto::message::{EventKind, ToOperator};

use super::*;
use crate::core::desk::{Desk as Core, Effect};
use crate::core::view::Event;

/// The desk's core with its inbox, and how much it said to sessions of the web.
struct Hub {
    core: Core,
    inbox: Receiver<Msg>,
    desk: Desk,
    bridge: Bridge,
    sent: usize,
}

impl Hub {
    fn new() -> Hub {
        let (to, inbox) = unbounded();
        let bridge = Bridge::default();
        Hub { core: Core::default(), inbox, desk: Desk::new(to, bridge.clone()), bridge, sent: 0 }
    }

    fn tell(&mut self, msg: Msg) {
        let mut effects = Vec::new();
        self.core.handle(Time(1), msg, &mut effects);
        for effect in effects {
            if let Effect::Send(session, msg) = effect {
                assert!(session.is_inner());
                self.sent += 1;
                self.bridge.answer(session, msg);
            }
        }
    }

    /// Handles what the web said.
    fn turn(&mut self) {
        while let Ok(msg) = self.inbox.try_recv() {
            self.tell(msg);
        }
    }

    fn happen(&mut self, count: usize) {
        for _ in 0..count {
            self.tell(Msg::Event(Event::new(EventKind::Ordered, "something")));
        }
    }

    fn sessions(&self) -> usize {
        self.bridge.lock().sessions.len()
    }
}

fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn events() -> Ask {
    Ask::Events { pattern: String::new(), after: 0 }
}

fn show() -> Ask {
    Ask::Show { package: "a".to_owned() }
}

#[test]
fn a_reader_has_never_more_rows_before_it_than_its_credit_and_misses_none() {
    block(async {
        const EVENTS: usize = 100;
        let mut hub = Hub::new();
        let mut rows = hub.desk.ask(events()).await.unwrap();
        hub.turn();
        hub.happen(EVENTS);
        assert_eq!(hub.sent, usize::from(INNER_ROWS), "all that was granted, and no more while nobody reads");
        let mut seqs = Vec::new();
        for taken in 1..=EVENTS {
            match rows.next().await {
                Some(ToOperator::Event(row)) => seqs.push(row.seq),
                other => panic!("{other:?}"),
            }
            hub.turn();
            assert!(hub.sent - taken <= usize::from(INNER_ROWS), "{} rows wait", hub.sent - taken);
        }
        assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]) && hub.sent == EVENTS, "{seqs:?}");
    });
}

#[test]
fn a_reader_that_goes_away_ends_its_session_wherever_it_is() {
    block(async {
        let mut hub = Hub::new();
        let mut gone = hub.desk.ask(events()).await.unwrap();
        let mut stays = hub.desk.ask(events()).await.unwrap();
        hub.turn();
        hub.happen(1);
        assert!(gone.next().await.is_some() && stays.next().await.is_some());
        assert_eq!((hub.sent, hub.sessions()), (2, 2));
        drop(gone);
        hub.happen(1);
        assert_eq!((hub.sent, hub.sessions()), (4, 1), "the desk has not heard of it yet, and harms nobody");
        hub.turn();
        hub.happen(1);
        assert_eq!(hub.sent, 5, "the desk has forgotten it");
        assert!(stays.next().await.is_some());
    });
}

#[test]
fn one_follower_too_many_is_told_so_until_another_leaves() {
    block(async {
        let hub = Hub::new();
        let mut all = Vec::new();
        for _ in 0..FOLLOWERS_MAX {
            all.push(hub.desk.ask(events()).await.unwrap());
        }
        let busy = hub.desk.ask(events()).await.err().unwrap();
        assert_eq!(busy.to_string(), "256 pages follow logs and events already: try again later");
        assert!(hub.desk.ask(show()).await.is_ok(), "what has an end has places of its own");
        all.pop();
        assert!(hub.desk.ask(events()).await.is_ok());
    });
}

#[test]
fn one_question_too_many_waits_for_its_turn() {
    block(async {
        let hub = Hub::new();
        let mut all = Vec::new();
        for _ in 0..ASKS_MAX {
            all.push(hub.desk.ask(show()).await.unwrap());
        }
        let mut more = Box::pin(hub.desk.ask(show()));
        assert!(tokio::time::timeout(Duration::ZERO, &mut more).await.is_err());
        assert_eq!(hub.sessions(), ASKS_MAX, "the desk hears of it when its turn comes");
        all.pop();
        assert!(more.await.is_ok());
    });
}

#[test]
fn a_refusal_is_a_row_and_the_end_is_none() {
    block(async {
        let mut hub = Hub::new();
        let mut rows = hub.desk.ask(show()).await.unwrap();
        hub.turn();
        hub.tell(Msg::View(Arc::default()));
        assert!(matches!(rows.next().await, Some(ToOperator::No { .. })));
        assert!(rows.next().await.is_none());
    });
}

#[test]
fn nobody_waits_for_a_desk_that_is_gone() {
    block(async {
        let hub = Hub::new();
        let mut before = hub.desk.ask(events()).await.unwrap();
        hub.bridge.end();
        assert!(before.next().await.is_none());
        assert!(hub.desk.ask(show()).await.unwrap().next().await.is_none());
        assert!(hub.desk.glance().await.is_none());
    });
}
