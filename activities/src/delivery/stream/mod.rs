//! `stream`: delivers the events of devices to one destination. One run takes what is pending page by page, until it
//! has run for a while, or nothing was pending for a while.
//!
//! The devices of a page are divided among a bounded number of channels, which send concurrently; the events of one device
//! are in one channel, in their order. After an event that was not delivered a channel leaves out the later ones of its
//! device, and it ends after two requests in a row of which nothing arrived. What is pending is in storage alone:
//! nothing here grows with it.

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

/// How long a lease keeps other runs off, if its run does not give it up: a page begins with a lease, and releases it at
/// its end.
const LEASE: Duration = Duration::from_secs(45);
/// Time between two looks for something pending.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// A run without anything pending for this time ends.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Shorter waits are slept out; for a longer one the run ends, and Temporal shows why and begins the next one.
const SHORT_WAIT: Duration = Duration::from_secs(3);
/// The longest wait of a run, whatever it waits for: meanwhile another device may report.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// When a stream that has no place on its worker tries again.
const NO_PLACE_WAIT: Duration = Duration::from_secs(5);
/// A stream ends after this time if another one waits for its place.
const SHORTEST_RUN: Duration = Duration::from_secs(30);
/// How long nothing is sent to a destination that took nothing of a page. If it goes on, the breaker opens.
const FRUITLESS_WAIT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct StreamRun {
    pub token: String,
    /// Whether it begins no further request: it was cancelled, or Temporal takes it for lost.
    pub is_halted: AtomicBool,
}

/// Walks the devices of a destination, from the first to the last, again and again.
struct Walk {
    lease: StreamLease,
    /// The shortest wait of a device since the first one.
    wait: Option<StreamWait>,
    /// Whether anything was sent since the first device.
    has_sent: bool,
    sent_at: Instant,
    delivered: usize,
}

/// Delivers until the run has taken long enough, the worker stops, or nothing was pending for a while.
///
/// # Errors
/// The destination takes nothing for a while, or storage failed: Temporal begins the next run.
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
                    // The destination takes one request at a time: now purchases have their turn.
                    tokio::time::sleep(IDLE_INTERVAL).await;
                }
            }
            StreamPage::Next { after, wait } => {
                walk.lease.after = Some(after);
                walk.wait = walk.wait.into_iter().chain(wait).min();
            }
            StreamPage::Wait(wait) => pause(wait).await?,
            // Decided at once: what is queued from now on starts another run.
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
    /// Whether it begins no further request.
    fn is_over(&self, context: &Context) -> bool {
        self.is_halted.load(Ordering::Relaxed) || context.stopping.load(Ordering::Relaxed)
    }
}

impl Walk {
    /// Goes back to the first device. Where nothing could be sent, it waits.
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

    /// Whether nothing is pending, and nothing was for a while.
    fn is_idle(&self) -> bool {
        !self.has_sent && self.wait.is_none() && self.sent_at.elapsed() > IDLE_LIMIT
    }
}

/// Sleeps a short wait out.
///
/// # Errors
/// A longer wait: the next run begins after it, or after [`LONGEST_WAIT`].
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
