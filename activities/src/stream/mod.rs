//! `stream`: delivers the events of devices to one destination. One run takes what is owed page by page, until it has run
//! for a while, or nothing was owed for a while.
//!
//! The devices of a page are divided among a bounded number of channels, which send concurrently; the events of one device
//! are in one channel, in their order. After an event that was not delivered a channel leaves out the later ones of its
//! device, and it ends after two requests in a row of which nothing arrived. What is owed is in storage alone: nothing here
//! grows with it.

mod spacing;

use crate::attempt::{is_event_expired, publish_operator_events};
use crate::dependencies::Context;
use crate::failure::Failed;
use domain::{DeliveryId, DestinationId, DeviceId, Timestamp};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocols::destinations::{Config, Exchange, Invalid};
use spacing::Spacing;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{
    Attempt, DeliveryResult, EndpointSignal, Error, EventResult, Rendered, StreamBatch, StreamClaim, StreamPage,
    StreamRequest, StreamResult, StreamVerdict, StreamWait, StreamedEvent, Verdict,
};
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;
use workflows::activities::{Stream, Streamed};
use workflows::options::STREAM_BUDGET;

/// How long a claim keeps other runs off, if its run does not give it up: a page claims, and releases at its end.
const LEASE: Duration = Duration::from_secs(45);
/// Latest start of a request after the claim of its page, so that it ends within the lease.
const LATEST_START: Duration = Duration::from_secs(25);
/// Time between two looks for something owed.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// A run without anything owed for this time ends.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Shorter waits are slept out; for a longer one the run ends, and Temporal shows why and begins the next one.
const SHORT_WAIT: Duration = Duration::from_secs(3);
/// The longest wait of a run, whatever it waits for: meanwhile another device may report.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Time between two heartbeats to Temporal.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(4);
/// Maximum number of channels.
const MAX_CHANNELS: usize = 32;
/// How long nothing is sent to a destination that took nothing of a page. If it goes on, the breaker opens.
const FRUITLESS_WAIT: Duration = Duration::from_secs(2);
/// Number of requests of a channel in a row of which nothing arrived, after which it ends.
const MAX_FRUITLESS: usize = 2;
/// Wait before the next attempt when no request can be built from the destination's settings.
const INVALID_SETTINGS_RETRY: Duration = Duration::from_secs(600);

/// One run of the activity.
#[derive(Default)]
pub struct StreamRun {
    /// Identifies it.
    pub token: String,
    /// Whether it begins no further request: it was cancelled, or Temporal takes it for lost.
    pub is_halted: AtomicBool,
}

/// Walks the devices of a destination, from the first to the last, again and again.
struct Walk {
    claim: StreamClaim,
    /// The shortest wait of a device since the first one.
    wait: Option<StreamWait>,
    /// Whether anything was sent since the first device.
    has_sent: bool,
    /// When something was sent last.
    sent_at: Instant,
    delivered: usize,
}

/// Delivers until the run has taken long enough, the worker stops, or nothing was owed for a while.
///
/// # Errors
/// The destination takes nothing for a while, or storage failed: Temporal begins the next run.
pub async fn stream(context: &Context, run: &StreamRun, input: &Stream) -> Result<Streamed, Failed> {
    let claim = StreamClaim { destination: input.destination_id, token: run.token.clone(), lease: LEASE, after: None };
    let began = Instant::now();
    let mut walk = Walk { claim, wait: None, has_sent: false, sent_at: began, delivered: 0 };
    let mut spacing = Spacing::of(None);
    loop {
        if run.is_over(context) || began.elapsed() > STREAM_BUDGET {
            return Ok(Streamed { delivered: walk.delivered, is_idle: false });
        }
        match context.store.claim_stream(walk.claim.clone()).await? {
            StreamPage::Send(batch) => {
                spacing.follow(batch.destination.rate);
                walk.claim.after = Some(batch.last_device);
                let sent = Sender { context, run, spacing: &spacing }.send(&walk.claim, *batch).await?;
                if let Some(why) = sent.failure.filter(|_| sent.delivered == 0) {
                    return Err(Failed::Later { wait: FRUITLESS_WAIT, why });
                }
                (walk.has_sent, walk.sent_at) = (true, Instant::now());
                walk.delivered += sent.delivered;
            }
            StreamPage::Next { after, wait } => {
                walk.claim.after = Some(after);
                walk.wait = walk.wait.into_iter().chain(wait).min();
            }
            StreamPage::Wait(wait) => pause(wait).await?,
            // Decided at once: what is owed from now on starts another run.
            StreamPage::End if walk.is_idle() => return Ok(Streamed { delivered: walk.delivered, is_idle: true }),
            StreamPage::End => walk.restart().await?,
            StreamPage::Closed => return Ok(Streamed { delivered: walk.delivered, is_idle: true }),
        }
    }
}

impl StreamRun {
    /// Whether it begins no further request.
    fn is_over(&self, context: &Context) -> bool {
        self.is_halted.load(Ordering::Relaxed) || context.stopping.load(Ordering::Relaxed)
    }

    /// Sends heartbeats to Temporal for ever, and halts the run when the activity is cancelled: what is in flight is
    /// finished.
    pub async fn send_heartbeats(&self, ctx: &ActivityContext) -> Infallible {
        loop {
            if let Err(error) = ctx.record_heartbeat(()).await {
                tracing::debug!(error = %error, "a heartbeat was not sent");
            }
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
                () = ctx.cancelled(), if !self.is_halted.load(Ordering::Relaxed) => {
                    self.is_halted.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Walk {
    /// Goes back to the first device. Where nothing could be sent, it waits.
    async fn restart(&mut self) -> Result<(), Failed> {
        let (wait, has_sent) = (self.wait.take(), std::mem::take(&mut self.has_sent));
        self.claim.after = None;
        match wait {
            _ if has_sent => {}
            Some(wait) => pause(wait).await?,
            None => tokio::time::sleep(IDLE_INTERVAL).await,
        }
        Ok(())
    }

    /// Whether nothing is owed, and nothing was for a while.
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
        return Err(Failed::Later { wait: wait.min(LONGEST_WAIT), why });
    }
    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
    Ok(())
}

/// A page that is being sent.
struct Page<'a> {
    sender: Sender<'a>,
    claim: &'a StreamClaim,
    batch: &'a StreamBatch,
    config: &'a Config,
    claimed_at: Instant,
    /// Whether the destination wants no further request of this page.
    is_over: AtomicBool,
}

/// How a page was taken.
#[derive(Default)]
struct PageResult {
    /// Number of delivered events.
    delivered: usize,
    /// Why a request failed, if one did.
    failure: Option<String>,
}

/// Sends the pages of a run.
#[derive(Clone, Copy)]
struct Sender<'a> {
    context: &'a Context,
    run: &'a StreamRun,
    spacing: &'a Spacing,
}

impl Sender<'_> {
    /// Sends a page, and gives the stream up at its end.
    async fn send(self, claim: &StreamClaim, batch: StreamBatch) -> Result<PageResult, Error> {
        let store = &self.context.store;
        let config = match Config::ready(&batch.destination, &batch.secret, &self.context.allowed_addresses) {
            Ok(config) => config,
            Err(invalid) => {
                let results = batch.events.iter().map(|event| unusable(event, &invalid)).collect();
                store.finish_stream(claim, results, None).await?;
                store.release_stream(claim).await?;
                return Ok(PageResult::default());
            }
        };
        let (claimed_at, is_over) = (Instant::now(), AtomicBool::new(false));
        let page = Page { sender: self, claim, batch: &batch, config: &config, claimed_at, is_over };
        let channels = channels(&batch.events, usize::try_from(batch.destination.concurrency).unwrap_or(1));
        let running: FuturesUnordered<_> = channels.into_iter().map(|events| page.send_channel(events)).collect();
        // All of them end, whatever one of them meets: what was sent is recorded.
        let all: Vec<Result<PageResult, Error>> = running.collect().await;
        let released = store.release_stream(claim).await;
        let mut result = PageResult::default();
        for sent in all {
            let PageResult { delivered, failure } = sent?;
            result.delivered += delivered;
            result.failure = result.failure.or(failure);
        }
        released.map(|()| result)
    }
}

/// Divides the devices of a page among at most `concurrency` channels. The events of a device stay together, in order.
fn channels(events: &[StreamedEvent], concurrency: usize) -> Vec<Vec<&StreamedEvent>> {
    let mut by_device: BTreeMap<DeviceId, Vec<&StreamedEvent>> = BTreeMap::new();
    for event in events {
        by_device.entry(event.device_id).or_default().push(event);
    }
    let count = concurrency.clamp(1, MAX_CHANNELS).min(by_device.len().max(1));
    let mut channels: Vec<Vec<&StreamedEvent>> = vec![Vec::new(); count];
    for (index, device) in by_device.into_values().enumerate() {
        channels[index % count].extend(device);
    }
    channels
}

impl Page<'_> {
    /// Sends the events of a channel, request by request. After an event that was not delivered, the later ones of its
    /// device are left out. What its destination wants at once again, such as fewer events in a request, is sent again.
    async fn send_channel(&self, events: Vec<&StreamedEvent>) -> Result<PageResult, Error> {
        let mut sent = PageResult::default();
        let mut unsent = Vec::new();
        let mut rest = self.rendered(events, &mut unsent);
        self.record(unsent, None).await?;
        let mut per_request = usize::try_from(self.batch.destination.per_request).unwrap_or(1).max(1);
        let mut fruitless = 0;
        while !rest.is_empty() && fruitless < MAX_FRUITLESS && self.may_send().await? {
            let events: Vec<Attempt> = rest.iter().take(per_request).map(|(_, attempt)| attempt.clone()).collect();
            let mut result = match self.request(&events).await {
                Ok(result) => result,
                Err(invalid) => {
                    self.record(rest.iter().map(|(event, _)| unusable(event, &invalid)).collect(), None).await?;
                    break;
                }
            };
            let fewer = result.at_most.and_then(|most| usize::try_from(most).ok()).filter(|most| *most < per_request);
            per_request = fewer.unwrap_or(per_request).max(1);
            result.events.retain(|one| !is_wanted_at_once(one));
            if result.events.is_empty() && fewer.is_none() {
                break;
            }
            let has_arrived = sent.add(&result);
            fruitless = if has_arrived || fewer.is_some() { 0 } else { fruitless + 1 };
            let done = result.events.clone();
            self.finish(&rest, result).await?;
            leave_out(&mut rest, &done);
        }
        Ok(sent)
    }

    /// Whether another request may be sent now; waits for its place.
    async fn may_send(&self) -> Result<bool, Error> {
        let latest = self.claimed_at + LATEST_START;
        let Sender { context, run, spacing } = self.sender;
        let Some(place) = spacing.take(Instant::now(), latest).await else { return Ok(false) };
        tokio::time::sleep_until(place).await;
        if self.is_over.load(Ordering::Relaxed) || run.is_over(context) || Instant::now() > latest {
            return Ok(false);
        }
        context.store.holds_stream(self.claim).await
    }

    /// Sends one request, and judges the answer.
    async fn request(&self, events: &[Attempt]) -> Result<DeliveryResult, Invalid> {
        let context = self.sender.context;
        let request = self.config.request((context.clock)(), events)?;
        let reply = context.http.send(request).await;
        Ok(self.config.judge(Exchange { events, reply: &reply, at: self.now(), jitter: (context.random)() }))
    }

    /// Records the results of a request.
    async fn finish(&self, sent: &[(&StreamedEvent, Attempt)], result: DeliveryResult) -> Result<(), Error> {
        fail::fail_point!("stream.after_send", |_| std::process::abort());
        let ends =
            matches!(&result.endpoint_signal, EndpointSignal::Gone { .. } | EndpointSignal::Failure { pause: Some(_) });
        if ends {
            self.is_over.store(true, Ordering::Relaxed);
        }
        let of = |one: &EventResult| {
            let (event, _) = sent.iter().find(|(_, attempt)| attempt.delivery_id == one.delivery_id)?;
            Some(result_of(event, one))
        };
        let results = result.events.iter().filter_map(of).collect();
        let request = sent.first().map(|(event, _)| StreamRequest {
            device: event.device_id,
            began: self.batch.at,
            mode: self.batch.mode,
            result,
            disable_after: self.config.disable_after(),
        });
        self.record(results, request).await
    }

    async fn record(&self, results: Vec<StreamResult>, request: Option<StreamRequest>) -> Result<(), Error> {
        if results.is_empty() && request.is_none() {
            return Ok(());
        }
        count(&results);
        let context = self.sender.context;
        let finished = context.store.finish_stream(self.claim, results, request).await?;
        publish_operator_events(context, self.claim.destination, finished.operator_events, finished.owing);
        Ok(())
    }

    /// The events of a channel with their bodies. An event that is not sent gets its result.
    fn rendered<'e>(
        &self,
        events: Vec<&'e StreamedEvent>,
        results: &mut Vec<StreamResult>,
    ) -> Vec<(&'e StreamedEvent, Attempt)> {
        let destination = &self.batch.destination;
        let mut attempts = Vec::with_capacity(events.len());
        for event in events {
            let (verdict, why) = match Config::render_streamed(destination, event) {
                _ if is_event_expired(event.first_tried_at, self.config.gives_up_after(), self.batch.at) => {
                    let why = "so long after its first attempt a repetition could be counted twice";
                    (StreamVerdict::Dead, why.to_owned())
                }
                Rendered::Body(body) | Rendered::Revenue { body, .. } => {
                    attempts.push((event, attempt(destination.id, event, body)));
                    continue;
                }
                Rendered::Skip { why } | Rendered::Wait { why } => (StreamVerdict::Skipped, why),
                Rendered::Refuse { why } => (StreamVerdict::Dead, why),
            };
            results.push(StreamResult { seq: event.seq, verdict, class: None, error: Some(why) });
        }
        attempts
    }

    /// The present time by the database's clock.
    fn now(&self) -> Timestamp {
        self.batch.at.plus(self.claimed_at.elapsed())
    }
}

impl PageResult {
    /// Adds a request; returns whether anything arrived.
    fn add(&mut self, result: &DeliveryResult) -> bool {
        let delivered = result.events.iter().filter(|one| one.verdict == Verdict::Delivered).count();
        self.delivered += delivered;
        if matches!(result.endpoint_signal, EndpointSignal::Failure { .. }) && self.failure.is_none() {
            self.failure = result.events.iter().find_map(|one| one.error.clone());
        }
        delivered > 0
    }
}

/// Whether an event is to be sent at once again, in another request.
fn is_wanted_at_once(one: &EventResult) -> bool {
    matches!(one.verdict, Verdict::Retry { delay } if delay.is_zero() && !one.counts)
}

/// Leaves out what has a result, and the later events of a device whose event has to wait.
fn leave_out(rest: &mut Vec<(&StreamedEvent, Attempt)>, done: &[EventResult]) {
    let result = |attempt: &Attempt| done.iter().find(|one| one.delivery_id == attempt.delivery_id);
    let is_waiting = |one: &EventResult| matches!(one.verdict, Verdict::Retry { .. });
    let waiting: BTreeSet<DeviceId> = rest
        .iter()
        .filter(|(_, attempt)| result(attempt).is_some_and(is_waiting))
        .map(|(event, _)| event.device_id)
        .collect();
    rest.retain(|(event, attempt)| result(attempt).is_none() && !waiting.contains(&event.device_id));
}

/// An event as kinds of destinations take it.
fn attempt(destination: DestinationId, event: &StreamedEvent, body: String) -> Attempt {
    Attempt {
        delivery_id: DeliveryId::of(destination, event.id, 0),
        event_id: event.id,
        event_type: event.event_type.clone(),
        revision: 0,
        number: event.attempts.saturating_add(1),
        refusals: event.refusals,
        first_tried_at: event.first_tried_at,
        is_stale: false,
        body,
        traceparent: None,
    }
}

fn result_of(event: &StreamedEvent, result: &EventResult) -> StreamResult {
    let verdict = match result.verdict {
        Verdict::Delivered => StreamVerdict::Delivered,
        Verdict::Retry { delay } => StreamVerdict::Retry { delay, counts: result.counts },
        Verdict::Dead => StreamVerdict::Dead,
    };
    let why = || result.error.clone().unwrap_or_else(|| result.class.as_str().to_owned());
    let error = (verdict != StreamVerdict::Delivered).then(why);
    StreamResult { seq: event.seq, verdict, class: Some(result.class), error }
}

/// The result of an event whose request cannot be built from the destination's settings.
fn unusable(event: &StreamedEvent, invalid: &Invalid) -> StreamResult {
    let verdict = StreamVerdict::Retry { delay: INVALID_SETTINGS_RETRY, counts: false };
    StreamResult { seq: event.seq, verdict, class: None, error: Some(invalid.to_string()) }
}

fn count(results: &[StreamResult]) {
    for one in results {
        let outcome = match one.verdict {
            StreamVerdict::Delivered => "delivered",
            StreamVerdict::Retry { .. } => "retry",
            StreamVerdict::Dead => "dead",
            StreamVerdict::Skipped => "skipped",
        };
        metrics::counter!("settle_device_deliveries_total", "outcome" => outcome).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Environment, EventId};
    use uuid::Uuid;

    fn event(seq: i64, device: u128) -> StreamedEvent {
        StreamedEvent {
            seq,
            id: EventId::new(Uuid::from_u128(u128::from(seq.unsigned_abs()))),
            device_id: DeviceId::new(Uuid::from_u128(device)),
            event_type: "device.impression".to_owned(),
            environment: Environment::Production,
            occurred_at: Timestamp::from_micros(0),
            body: "{}".to_owned(),
            attempts: 0,
            refusals: 0,
            first_tried_at: None,
            tried_at: None,
            next_due_at: Timestamp::from_micros(0),
            last_error: None,
        }
    }

    #[test]
    fn an_event_that_waits_takes_its_device_out_of_the_channel() {
        let destination = DestinationId::new(Uuid::nil());
        let events: Vec<StreamedEvent> =
            [1, 2, 1, 2].into_iter().zip(1..).map(|(device, seq)| event(seq, device)).collect();
        let mut rest: Vec<(&StreamedEvent, Attempt)> =
            events.iter().map(|event| (event, attempt(destination, event, String::new()))).collect();
        let done = |index: usize, verdict: Verdict| EventResult {
            delivery_id: DeliveryId::of(destination, events[index].id, 0),
            verdict,
            class: storage::AttemptClass::ServerError,
            error: None,
            counts: true,
        };
        leave_out(&mut rest, &[done(0, Verdict::Retry { delay: Duration::from_secs(5) }), done(1, Verdict::Delivered)]);
        assert_eq!(rest.iter().map(|(event, _)| event.seq).collect::<Vec<_>>(), [4]);
        let at_once = EventResult { counts: false, ..done(3, Verdict::Retry { delay: Duration::ZERO }) };
        assert!(is_wanted_at_once(&at_once) && !is_wanted_at_once(&done(3, Verdict::Dead)));
    }

    #[test]
    fn the_events_of_a_device_are_in_one_channel_in_their_order() {
        let events: Vec<StreamedEvent> = (0..60).map(|seq| event(seq, u128::from(seq.unsigned_abs() % 7))).collect();
        for concurrency in [0, 1, 3, 100] {
            let channels = channels(&events, concurrency);
            assert_eq!(channels.len(), concurrency.clamp(1, 7));
            assert_eq!(channels.iter().map(Vec::len).sum::<usize>(), events.len());
            let mut channel_of: BTreeMap<DeviceId, (usize, i64)> = BTreeMap::new();
            for (index, channel) in channels.iter().enumerate() {
                for event in channel {
                    let (known, last) = channel_of.entry(event.device_id).or_insert((index, -1));
                    assert!(*known == index && *last < event.seq, "{event:?}");
                    *last = event.seq;
                }
            }
        }
        assert_eq!(channels(&[], 4).len(), 1);
    }
}
