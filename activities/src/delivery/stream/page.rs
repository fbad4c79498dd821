//! Sends a page of a stream: the channels of its devices, and the requests of each channel.

use super::StreamRun;
use crate::delivery::attempt::{EXPIRED, is_event_expired, publish_operator_events};
use crate::delivery::chart_counts::Counts;
use crate::dependencies::Context;
use crate::spans;
use domain::{DeliveryId, DestinationId, DeviceId, Timestamp};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocols::destinations::{Connector, Exchange, Invalid, kind, ready};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{
    Attempt, DeliveryResult, EndpointSignal, Error, EventResult, Rendered, StreamBatch,
    StreamLease, StreamRequest, StreamResult, StreamStart, StreamStarted, StreamVerdict,
    StreamedEvent, Tried, Verdict,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Latest start of a request after the lease of its page began, so that the request ends within the lease.
const LATEST_START: Duration = Duration::from_secs(25);
/// Number of consecutive requests without a delivery after which a channel ends.
const MAX_FRUITLESS: usize = 2;
/// Wait before the next attempt when no request can be built from the destination's settings.
const INVALID_SETTINGS_RETRY: Duration = Duration::from_secs(600);
/// Latest start of a request to a destination that accepts one at a time: its purchases must wait for the end of the
/// page.
const LATEST_START_ALONE: Duration = Duration::from_secs(2);
/// Maximum size of the bodies of a new batch, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A page that is being sent.
struct Page<'a> {
    sender: Sender<'a>,
    lease: &'a StreamLease,
    batch: &'a StreamBatch,
    connector: &'a dyn Connector,
    leased_at: Instant,
    /// Whether no further request of this page is to be sent to the destination.
    is_over: AtomicBool,
}

#[derive(Default)]
pub struct PageResult {
    pub delivered: usize,
    /// Error of a failed request, if one failed.
    pub failure: Option<String>,
}

/// Sends the pages of a run.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub context: &'a Context,
    pub run: &'a StreamRun,
    /// Held by the channel that waits for its slot under the destination's rate limit, so that the stream takes one
    /// slot at a time.
    pub turn: &'a Mutex<()>,
}

impl Sender<'_> {
    /// Sends a page, and releases the stream afterwards.
    pub async fn send(self, lease: &StreamLease, batch: StreamBatch) -> Result<PageResult, Error> {
        let store = &self.context.store;
        let connector = match ready(
            &batch.destination,
            &batch.secret,
            &self.context.allowed_addresses,
        ) {
            Ok(connector) => connector,
            Err(invalid) => {
                let results = batch
                    .events
                    .iter()
                    .map(|event| unusable(event, &invalid))
                    .collect();
                store.finish_stream(lease, results, None).await?;
                store.release_stream(lease).await?;
                return Ok(PageResult::default());
            }
        };
        let (leased_at, is_over) = (Instant::now(), AtomicBool::new(false));
        let page = Page {
            sender: self,
            lease,
            batch: &batch,
            connector: connector.as_ref(),
            leased_at,
            is_over,
        };
        let channels = channels(&batch.events, batch.channels);
        let running: FuturesUnordered<_> = channels
            .into_iter()
            .map(|events| page.send_channel(events))
            .collect();
        // All channels run to their end even if one fails, so that everything that was sent is recorded.
        let all: Vec<Result<PageResult, Error>> = running.collect().await;
        let released = store.release_stream(lease).await;
        let mut result = PageResult::default();
        for sent in all {
            let PageResult { delivered, failure } = sent?;
            result.delivered += delivered;
            result.failure = result.failure.or(failure);
        }
        released.map(|()| result)
    }
}

/// Divides the devices of a page among at most `count` channels. The events of a device stay together, in order. Events
/// that an earlier request contained also stay together; they are the first ones of their devices.
fn channels(events: &[StreamedEvent], count: usize) -> Vec<Vec<&StreamedEvent>> {
    let mut by_device: BTreeMap<DeviceId, Vec<&StreamedEvent>> = BTreeMap::new();
    for event in events {
        by_device.entry(event.device_id).or_default().push(event);
    }
    let count = count.max(1).min(by_device.len().max(1));
    let mut channels: Vec<Vec<&StreamedEvent>> = vec![Vec::new(); count];
    let mut of_batch: BTreeMap<String, usize> = BTreeMap::new();
    for (index, device) in by_device.into_values().enumerate() {
        let batch = device.first().and_then(|first| first.batch_id);
        let place = batch.map(|batch| *of_batch.entry(batch.to_string()).or_insert(index % count));
        channels[place.unwrap_or(index % count)].extend(device);
    }
    channels
}

/// Returns the events of a channel's next request: those that were sent together with the first one before, else as
/// many as the destination accepts, in the order of their receipt.
fn next_request<'e>(
    rest: &[(&'e StreamedEvent, Attempt)],
    per_request: usize,
) -> Vec<(&'e StreamedEvent, Attempt)> {
    let Some((first, _)) = rest.first() else {
        return Vec::new();
    };
    let mut next: Vec<(&StreamedEvent, Attempt)> = match first.batch_id {
        Some(batch) => rest
            .iter()
            .filter(|(event, _)| event.batch_id == Some(batch))
            .cloned()
            .collect(),
        None => {
            let mut bytes = 0;
            let new = rest
                .iter()
                .take(per_request)
                .take_while(|(event, attempt)| {
                    bytes += attempt.body.len();
                    event.batch_id.is_none() && bytes <= MAX_BODY_BYTES
                });
            new.cloned().collect()
        }
    };
    // A repeated request contains its events in the same order.
    next.sort_by_key(|(event, _)| event.seq);
    if next.is_empty() {
        rest.first().cloned().into_iter().collect()
    } else {
        next
    }
}

impl Page<'_> {
    /// Sends the events of a channel, request by request. After an undelivered event, the later ones of its device are
    /// skipped. Events that the destination wants again at once, such as in smaller requests, are sent again.
    async fn send_channel(&self, events: Vec<&StreamedEvent>) -> Result<PageResult, Error> {
        let mut sent = PageResult::default();
        let mut unsent = Vec::new();
        let mut rest = self.rendered(events, &mut unsent);
        self.record(unsent, None).await?;
        let mut per_request = self.connector.per_streamed_request(&self.batch.destination);
        let mut fruitless = 0;
        while fruitless < MAX_FRUITLESS {
            let next = next_request(&rest, per_request);
            let events: Vec<Attempt> = next.iter().map(|(_, attempt)| attempt.clone()).collect();
            if events.is_empty() || !self.may_send(&next, &events).await? {
                break;
            }
            let span = spans::apart("RunActivity:stream", self.lease.destination);
            let (answered, mut result) = match span.within(self.request(&events)).await {
                Ok(answered) => answered,
                Err(invalid) => {
                    self.record(
                        rest.iter()
                            .map(|(event, _)| unusable(event, &invalid))
                            .collect(),
                        None,
                    )
                    .await?;
                    break;
                }
            };
            let fewer = result
                .at_most
                .and_then(|most| usize::try_from(most).ok())
                .filter(|most| *most < per_request);
            per_request = fewer.unwrap_or(per_request).max(1);
            if fewer.is_none() && result.events.iter().all(is_wanted_at_once) {
                // The same request would get the same response at once, so it waits as after a failure.
                let delay = self.connector.first_wait();
                result
                    .events
                    .iter_mut()
                    .for_each(|one| one.verdict = Verdict::Retry { delay });
            }
            result.events.retain(|one| !is_wanted_at_once(one));
            let has_arrived = sent.add(&result);
            fruitless = if has_arrived || fewer.is_some() {
                0
            } else {
                fruitless + 1
            };
            let done = result.events.clone();
            span.within(self.finish(&next, answered, result)).await?;
            leave_out(&mut rest, &done);
        }
        Ok(sent)
    }

    /// Waits for a slot under the destination's rate limit. Returns whether another request may be sent now.
    async fn may_send(
        &self,
        next: &[(&StreamedEvent, Attempt)],
        attempts: &[Attempt],
    ) -> Result<bool, Error> {
        let Sender { context, turn, .. } = self.sender;
        let batch_id = self.connector.batch_id(attempts);
        if !self.is_open() {
            return Ok(false);
        }
        if self.batch.destination.rate.is_none() && batch_id.is_none() {
            return context.store.holds_stream(self.lease).await;
        }
        let start = StreamStart {
            seqs: next.iter().map(|(event, _)| event.seq).collect(),
            batch_id,
        };
        let _turn = match self.batch.destination.rate {
            Some(_) => Some(turn.lock().await),
            None => None,
        };
        loop {
            if !self.is_open() {
                return Ok(false);
            }
            match context
                .store
                .start_stream_request(self.lease, start.clone())
                .await?
            {
                StreamStarted::In(wait) => {
                    tokio::time::sleep(wait).await;
                    return Ok(self.is_open());
                }
                StreamStarted::Later(wait) => tokio::time::sleep(wait).await,
                StreamStarted::Lost => return Ok(false),
            }
        }
    }

    /// Whether another request of this page may be sent to the destination and there is time for it.
    fn is_open(&self) -> bool {
        let Sender { context, run, .. } = self.sender;
        let latest = if self.batch.destination.concurrency > 1 {
            LATEST_START
        } else {
            LATEST_START_ALONE
        };
        !self.is_over.load(Ordering::Relaxed)
            && !run.is_over(context)
            && self.leased_at.elapsed() <= latest
    }

    /// Sends one request, and judges the response.
    async fn request(&self, events: &[Attempt]) -> Result<(Answered, DeliveryResult), Invalid> {
        let context = self.sender.context;
        let request = self.connector.streamed_request((context.clock)(), events)?;
        let began = Instant::now();
        let reply = spans::request(request.of(self.batch.destination.app_id), |mut request| {
            if self.connector.takes_trace() {
                spans::propagate(&mut request);
            }
            context.http.deliver(request)
        })
        .await;
        let status = reply.status().ok().map(i64::from);
        let answered = Answered {
            status,
            latency: began.elapsed(),
        };
        if status.is_some() {
            self.counts().request(answered.latency);
        }
        let exchange = Exchange {
            events,
            reply: &reply,
            at: self.now(),
            jitter: (context.random)(),
        };
        Ok((answered, self.connector.judge(exchange)))
    }

    /// Records the results of a request.
    async fn finish(
        &self,
        sent: &[(&StreamedEvent, Attempt)],
        answered: Answered,
        result: DeliveryResult,
    ) -> Result<(), Error> {
        fail::fail_point!("stream.after_send", |_| std::process::abort());
        let ends = matches!(
            &result.endpoint_signal,
            EndpointSignal::Gone { .. } | EndpointSignal::Failure { pause: Some(_) }
        );
        if ends {
            self.is_over.store(true, Ordering::Relaxed);
        }
        let of = |one: &EventResult| {
            let (event, _) = sent
                .iter()
                .find(|(_, attempt)| attempt.delivery_id == one.delivery_id)?;
            Some(result_of(event, one, answered))
        };
        let results = result.events.iter().filter_map(of).collect();
        let request = sent.first().map(|(event, _)| StreamRequest {
            device: event.device_id,
            began: self.batch.at,
            mode: self.batch.mode,
            result,
            disable_after: self.connector.disable_after(),
        });
        self.record(results, request).await
    }

    async fn record(
        &self,
        results: Vec<StreamResult>,
        request: Option<StreamRequest>,
    ) -> Result<(), Error> {
        if results.is_empty() && request.is_none() {
            return Ok(());
        }
        count(&results, self.counts());
        let context = self.sender.context;
        let finished = context
            .store
            .finish_stream(self.lease, results, request)
            .await?;
        publish_operator_events(
            context,
            self.lease.destination,
            finished.operator_events,
            finished.queued_for,
        );
        Ok(())
    }

    /// Renders the bodies of a channel's events. Adds the results of those that are not sent.
    fn rendered<'e>(
        &self,
        events: Vec<&'e StreamedEvent>,
        results: &mut Vec<StreamResult>,
    ) -> Vec<(&'e StreamedEvent, Attempt)> {
        let destination = &self.batch.destination;
        let kind = kind(&destination.kind);
        let render = |event: &StreamedEvent| match &kind {
            Ok(kind) => kind.render_streamed(destination, event),
            Err(unknown) => Rendered::Refuse {
                why: unknown.to_string(),
            },
        };
        let mut attempts = Vec::with_capacity(events.len());
        for event in events {
            let (verdict, why) = match render(event) {
                _ if is_event_expired(
                    event.first_tried_at,
                    self.connector.gives_up_after(),
                    self.batch.at,
                ) =>
                {
                    (StreamVerdict::Failed, EXPIRED.to_owned())
                }
                Rendered::Body(body) | Rendered::Revenue { body, .. } => {
                    attempts.push((event, attempt(destination.id, event, body)));
                    continue;
                }
                Rendered::Skip { why } | Rendered::Wait { why } => (StreamVerdict::Skipped, why),
                Rendered::Refuse { why } => (StreamVerdict::Failed, why),
            };
            results.push(StreamResult {
                seq: event.seq,
                verdict,
                tried: None,
                error: Some(why),
            });
        }
        attempts
    }

    fn counts(&self) -> Counts<'_> {
        Counts {
            store: &self.sender.context.store,
            destination: &self.batch.destination,
        }
    }

    /// Returns the current time by the database's clock.
    fn now(&self) -> Timestamp {
        self.batch.at.plus(self.leased_at.elapsed())
    }
}

impl PageResult {
    /// Adds the result of a request. Returns whether anything was delivered.
    fn add(&mut self, result: &DeliveryResult) -> bool {
        let delivered = result
            .events
            .iter()
            .filter(|one| one.verdict == Verdict::Delivered)
            .count();
        self.delivered += delivered;
        if matches!(result.endpoint_signal, EndpointSignal::Failure { .. })
            && self.failure.is_none()
        {
            self.failure = result.events.iter().find_map(|one| one.error.clone());
        }
        delivered > 0
    }
}

/// Whether an event is to be sent again at once, in another request.
fn is_wanted_at_once(one: &EventResult) -> bool {
    matches!(one.verdict, Verdict::Retry { delay } if delay.is_zero() && !one.counts)
}

/// Removes the events that have a result, and the later events of a device one of whose events must wait.
fn leave_out(rest: &mut Vec<(&StreamedEvent, Attempt)>, done: &[EventResult]) {
    let result = |attempt: &Attempt| {
        done.iter()
            .find(|one| one.delivery_id == attempt.delivery_id)
    };
    let is_waiting = |one: &EventResult| matches!(one.verdict, Verdict::Retry { .. });
    let waiting: BTreeSet<DeviceId> = rest
        .iter()
        .filter(|(_, attempt)| result(attempt).is_some_and(is_waiting))
        .map(|(event, _)| event.device_id)
        .collect();
    rest.retain(|(event, attempt)| {
        result(attempt).is_none() && !waiting.contains(&event.device_id)
    });
}

/// Converts an event to the form that kinds of destinations accept.
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

#[derive(Debug, Clone, Copy)]
struct Answered {
    /// The status, if there was a response.
    status: Option<i64>,
    latency: Duration,
}

fn result_of(event: &StreamedEvent, result: &EventResult, answered: Answered) -> StreamResult {
    let verdict = match result.verdict {
        Verdict::Delivered => StreamVerdict::Delivered,
        Verdict::Retry { delay } => StreamVerdict::Retry {
            delay,
            counts: result.counts,
        },
        Verdict::Failed => StreamVerdict::Failed,
    };
    let why = || {
        result
            .error
            .clone()
            .unwrap_or_else(|| result.class.as_str().to_owned())
    };
    let error = (verdict != StreamVerdict::Delivered).then(why);
    let Answered { status, latency } = answered;
    let tried = Some(Tried {
        class: result.class,
        status,
        latency,
    });
    StreamResult {
        seq: event.seq,
        verdict,
        tried,
        error,
    }
}

/// Returns the result of an event whose request cannot be built from the destination's settings.
fn unusable(event: &StreamedEvent, invalid: &Invalid) -> StreamResult {
    let verdict = StreamVerdict::Retry {
        delay: INVALID_SETTINGS_RETRY,
        counts: false,
    };
    StreamResult {
        seq: event.seq,
        verdict,
        tried: None,
        error: Some(invalid.to_string()),
    }
}

fn count(results: &[StreamResult], counts: Counts<'_>) {
    for one in results {
        let outcome = match one.verdict {
            StreamVerdict::Delivered => "delivered",
            StreamVerdict::Retry { .. } => "retry",
            StreamVerdict::Failed => "failed",
            StreamVerdict::Skipped => "skipped",
        };
        spans::note_outcome(outcome);
        metrics::counter!("settle_device_deliveries_total", "outcome" => outcome).increment(1);
        if one.verdict != StreamVerdict::Skipped {
            counts.attempt(one.verdict == StreamVerdict::Delivered);
        }
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
            batch_id: None,
        }
    }

    #[test]
    fn an_event_that_waits_takes_its_device_out_of_the_channel() {
        let destination = DestinationId::new(Uuid::nil());
        let events: Vec<StreamedEvent> = [1, 2, 1, 2]
            .into_iter()
            .zip(1..)
            .map(|(device, seq)| event(seq, device))
            .collect();
        let mut rest: Vec<(&StreamedEvent, Attempt)> = events
            .iter()
            .map(|event| (event, attempt(destination, event, String::new())))
            .collect();
        let done = |index: usize, verdict: Verdict| EventResult {
            delivery_id: DeliveryId::of(destination, events[index].id, 0),
            verdict,
            class: storage::AttemptClass::ServerError,
            error: None,
            counts: true,
        };
        leave_out(
            &mut rest,
            &[
                done(
                    0,
                    Verdict::Retry {
                        delay: Duration::from_secs(5),
                    },
                ),
                done(1, Verdict::Delivered),
            ],
        );
        assert_eq!(
            rest.iter().map(|(event, _)| event.seq).collect::<Vec<_>>(),
            [4]
        );
        let at_once = EventResult {
            counts: false,
            ..done(
                3,
                Verdict::Retry {
                    delay: Duration::ZERO,
                },
            )
        };
        assert!(is_wanted_at_once(&at_once) && !is_wanted_at_once(&done(3, Verdict::Failed)));
    }

    #[test]
    fn the_events_of_a_device_are_in_one_channel_in_their_order() {
        let events: Vec<StreamedEvent> = (0..60)
            .map(|seq| event(seq, u128::from(seq.unsigned_abs() % 7)))
            .collect();
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
