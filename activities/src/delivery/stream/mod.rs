//! `stream`: delivers device events to one destination. One run sends the pending events page by page, until it has run
//! for a while or nothing was pending for a while.
//!
//! The devices of a page are divided among a limited number of channels, which send concurrently; the events of one
//! device are in one channel, in order. After an undelivered event, a channel skips the later ones of that device. A
//! channel ends after two consecutive requests that delivered nothing. Pending events are only in storage, so nothing
//! here grows with their number.

mod page;

use crate::dependencies::Context;
use crate::failure::Failed;
use page::Sender;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{StreamLease, StreamPage, StreamWait};
use tokio::sync::Mutex;
use tokio::time::Instant;
use workflows::activities::{Stream, Streamed};
use workflows::options::STREAM_BUDGET;

/// How long a lease keeps other runs away if its run does not release it. Each page takes a lease at its beginning and
/// releases it at its end.
const LEASE: Duration = Duration::from_secs(45);
/// Time between two checks for pending events.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// A run ends after this time without pending events.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Maximum wait that a run sleeps through. For a longer one the run ends, so that Temporal shows the reason and begins
/// the next run.
const SHORT_WAIT: Duration = Duration::from_secs(3);
/// Maximum wait between two runs, whatever they wait for: another device may report meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a stream that found no free slot on its worker waits before it retries.
const NO_PLACE_WAIT: Duration = Duration::from_secs(5);
/// Time after which a stream ends if another one is waiting for its slot.
const SHORTEST_RUN: Duration = Duration::from_secs(30);
/// How long nothing is sent to a destination that accepted nothing of a page. If that continues, the breaker opens.
const FRUITLESS_WAIT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct StreamRun {
    pub token: String,
    /// Whether the run begins no further request, because it was cancelled or Temporal considers it lost.
    pub is_halted: AtomicBool,
}

/// A cyclic walk through the devices of a destination, from the first to the last.
struct Walk {
    lease: StreamLease,
    /// The shortest wait of a device since the walk last began at the first device.
    wait: Option<StreamWait>,
    /// Whether anything was sent since the walk last began at the first device.
    has_sent: bool,
    sent_at: Instant,
    delivered: usize,
}

/// Delivers until the run has taken long enough, the worker stops, or nothing was pending for a while.
///
/// # Errors
/// The destination accepts nothing for a while, or storage failed: Temporal begins the next run.
pub async fn stream(
    context: &Context,
    run: &StreamRun,
    input: &Stream,
) -> Result<Streamed, Failed> {
    let lease = StreamLease {
        destination: input.destination_id,
        token: run.token.clone(),
        duration: LEASE,
        after: None,
    };
    let began = Instant::now();
    let mut walk = Walk {
        lease,
        wait: None,
        has_sent: false,
        sent_at: began,
        delivered: 0,
    };
    let Some(place) = context.slots.take_stream() else {
        let why = "this worker has as many streams as it takes; the next one that has run for a while ends".to_owned();
        return Err(Failed::Later {
            wait: NO_PLACE_WAIT,
            why,
        });
    };
    let turn = Mutex::default();
    loop {
        let has_run_for = began.elapsed();
        let is_wanted = has_run_for > SHORTEST_RUN && place.is_wanted();
        if run.is_over(context) || has_run_for > STREAM_BUDGET || is_wanted {
            return Ok(Streamed {
                delivered: walk.delivered,
                is_idle: false,
            });
        }
        match context.store.lease_stream(walk.lease.clone()).await? {
            StreamPage::Send(batch) => {
                walk.lease.after = Some(batch.last_device);
                let is_alone = batch.destination.concurrency <= 1;
                let sent = Sender {
                    context,
                    run,
                    turn: &turn,
                }
                .send(&walk.lease, *batch)
                .await?;
                if let Some(why) = sent.failure.filter(|_| sent.delivered == 0) {
                    return Err(Failed::Later {
                        wait: FRUITLESS_WAIT,
                        why,
                    });
                }
                (walk.has_sent, walk.sent_at) = (true, Instant::now());
                walk.delivered += sent.delivered;
                if is_alone {
                    // The destination accepts one request at a time, so purchases get their turn now.
                    tokio::time::sleep(IDLE_INTERVAL).await;
                }
            }
            StreamPage::Next { after, wait } => {
                walk.lease.after = Some(after);
                walk.wait = walk.wait.into_iter().chain(wait).min();
            }
            StreamPage::Wait(wait) => pause(wait).await?,
            // The run ends at once: anything that is queued from now on starts another run.
            StreamPage::End if walk.is_idle() => {
                return Ok(Streamed {
                    delivered: walk.delivered,
                    is_idle: true,
                });
            }
            StreamPage::End => walk.restart().await?,
            StreamPage::Closed => {
                return Ok(Streamed {
                    delivered: walk.delivered,
                    is_idle: true,
                });
            }
        }
    }
}

impl StreamRun {
    /// Whether the run begins no further request.
    fn is_over(&self, context: &Context) -> bool {
        self.is_halted.load(Ordering::Relaxed) || context.stopping.load(Ordering::Relaxed)
    }
}

impl Walk {
    /// Returns to the first device. If nothing could be sent since, waits first.
    async fn restart(&mut self) -> Result<(), Failed> {
        let (wait, has_sent) = (self.wait.take(), std::mem::take(&mut self.has_sent));
        self.lease.after = None;
        match wait {
            _ if has_sent => {}
            Some(wait) => pause(wait).await?,
            None => tokio::time::sleep(IDLE_INTERVAL).await,
        }
        Ok(())
    }

    /// Whether nothing is pending now or was pending for a while.
    fn is_idle(&self) -> bool {
        !self.has_sent && self.wait.is_none() && self.sent_at.elapsed() > IDLE_LIMIT
    }
}

/// Sleeps through a short wait.
///
/// # Errors
/// The wait is longer: the next run begins after it, or after [`LONGEST_WAIT`].
async fn pause(StreamWait { wait, why }: StreamWait) -> Result<(), Failed> {
    if wait > SHORT_WAIT {
        return Err(Failed::Later {
            wait: wait.min(LONGEST_WAIT),
            why,
        });
    }
    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
    Ok(())
}
