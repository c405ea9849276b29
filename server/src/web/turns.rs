//! Questions that the queue itself must answer: why a package waits, and what all wait for.
//!
//! Owns how often they are asked. Where thousands of packages wait such an answer takes the queue milliseconds, in which no
//! builder gets a job; so questions come one at a time, and each is followed by a rest that is longer than it took, however
//! many read this port and however soon they go away again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, oneshot};

use super::live::RESTS;
use super::problem::Problem;

/// Longest wait for a turn.
const WAIT: Duration = Duration::from_secs(20);

/// Who may ask; clones take turns with each other.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<()>>);

impl Turns {
    /// Does it when its turn comes. What was begun is done to its end, also when nobody waits for it any more.
    pub(super) async fn take<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.0).lock_owned()).await;
        let turn = turn.map_err(|_| Problem::later("many ask about packages: try again later"))?;
        let (tell, answer) = oneshot::channel();
        tokio::spawn(async move {
            let began = Instant::now();
            // Whoever is gone needs no answer.
            let _ = tell.send(work.await);
            tokio::time::sleep(began.elapsed() * RESTS).await;
            drop(turn);
        });
        answer.await.map_err(|_| Problem::later("the hub is stopping"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(2);

    async fn slow() -> u8 {
        tokio::time::sleep(TOOK).await;
        7
    }

    #[test]
    fn each_question_is_followed_by_a_rest_also_if_nobody_waits_for_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let turns = Turns::default();
            let began = Instant::now();
            assert_eq!(turns.take(slow()).await.ok(), Some(7));
            let (begun, is_begun) = oneshot::channel();
            let left = turns.take(async move {
                begun.send(()).unwrap();
                slow().await
            });
            tokio::select! {
                _ = left => panic!("it takes a while"),
                told = is_begun => told.unwrap(),
            }
            assert_eq!(turns.take(slow()).await.ok(), Some(7));
            assert!(began.elapsed() >= TOOK * (1 + RESTS) * 2 + TOOK, "{:?}", began.elapsed());
        });
    }

    #[test]
    fn who_comes_too_late_is_told_so() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let turns = Turns::default();
            let _kept = turns.0.lock().await;
            let problem = turns.take(slow()).await.unwrap_err();
            assert_eq!(problem.text, "many ask about packages: try again later");
        });
    }
}
