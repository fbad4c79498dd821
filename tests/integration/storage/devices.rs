//! Reports of devices: repetitions, sessions, and the events that are queued for destinations.

use super::world::{BEGINNING, World, new_destination, secret, story};
use domain::device::{Content, Device, Impression};
use domain::{DestinationId, DeviceId, PlatformId, SessionId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{
    AcceptedReports, AttemptClass, Claiming, DeliveryResult, DeviceReport, DeviceRequest,
    EndpointSignal, EventResult, Mode, StreamBatch, StreamLease, StreamPage, StreamRequest,
    StreamResult, StreamVerdict, StreamWait, StreamedEvent, Tried, Verdict,
};
use tokio::time::Instant;
use uuid::Uuid;

const MINUTE_MS: i64 = 60_000;

pub fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x1111_1111_2222_4333_8444_0000_0000_0000 + number)
}

fn session(number: u128) -> SessionId {
    SessionId::new(uuid(1000 + number))
}

pub fn device(number: u128) -> Device {
    serde_json::from_value(json!({
        "id": uuid(number), "first_launch": "2027-01-01T00:00:00Z", "app_version": "1.0", "sdk_version": "web/1",
        "os": { "name": "fireos", "version": "8" },
    }))
    .unwrap()
}

pub fn impression() -> Content {
    let paywall = json!({ "paywall": "summer" });
    Content::Impression(serde_json::from_value::<Impression>(paywall).unwrap())
}

pub fn start(number: u128) -> Content {
    Content::SessionStart {
        session: session(number),
        receipts: None,
    }
}

pub const fn end(session: SessionId) -> Content {
    Content::SessionEnd { session }
}

/// Returns an event at this time, in milliseconds after the beginning.
pub fn report(client_id: &str, at_ms: i64, content: Content) -> DeviceReport {
    let named = match &content {
        Content::SessionStart { session, .. } | Content::SessionEnd { session } => *session,
        Content::Impression(_) | Content::Transaction(_) => session(1),
    };
    let time = Timestamp::from_micros(BEGINNING).plus_millis(at_ms);
    DeviceReport {
        client_id: client_id.to_owned(),
        time,
        session: Some(named),
        content,
        signed: Vec::new(),
    }
}

impl World {
    /// Accepts a request of a device with a correct clock.
    pub async fn report(&self, number: u128, reports: Vec<DeviceReport>) -> AcceptedReports {
        let sent_at = self.store.now().await.unwrap();
        self.report_at(number, sent_at, reports).await
    }

    async fn report_at(
        &self,
        number: u128,
        sent_at: Timestamp,
        reports: Vec<DeviceReport>,
    ) -> AcceptedReports {
        let (platform, received_at) = (self.platform.id, Instant::now());
        let (claiming, network) = (Claiming::Stored, String::new());
        let (device, secret) = (device(number), Some(secret(device(number).id)));
        let request = DeviceRequest {
            platform,
            device,
            secret,
            sent_at,
            received_at,
            reports,
            claiming,
            network,
        };
        self.store.accept_reports(request).await.unwrap()
    }

    pub async fn page(&self, destination: DestinationId, token: &str) -> StreamPage {
        self.store
            .lease_stream(lease(destination, token))
            .await
            .unwrap()
    }

    pub async fn streamed(&self, destination: DestinationId) -> Box<StreamBatch> {
        match self.page(destination, "run/1").await {
            StreamPage::Send(batch) => batch,
            other => panic!("expected events, and it is {other:?}"),
        }
    }

    pub async fn record(&self, destination: DestinationId, results: &[(i64, StreamVerdict)]) {
        let results = results.iter().map(|(seq, verdict)| done(*seq, *verdict));
        self.store
            .finish_stream(&lease(destination, "run/1"), results.collect(), None)
            .await
            .unwrap();
    }

    /// Returns the bodies of the events that may be sent now.
    pub async fn bodies(&self, destination: DestinationId) -> Vec<Value> {
        let batch = self.streamed(destination).await;
        batch
            .events
            .iter()
            .map(|event| serde_json::from_str(&event.body).unwrap())
            .collect()
    }
}

pub fn lease(destination: DestinationId, token: &str) -> StreamLease {
    StreamLease {
        destination,
        token: token.to_owned(),
        duration: Duration::from_secs(30),
        after: None,
    }
}

/// Returns the result of a request about an event that was made and had this verdict.
pub const fn done(seq: i64, verdict: StreamVerdict) -> StreamResult {
    let (class, status) = match verdict {
        StreamVerdict::Delivered => (AttemptClass::Success, 204),
        _ => (AttemptClass::ServerError, 500),
    };
    let tried = Some(Tried {
        class,
        status: Some(status),
        latency: Duration::from_millis(12),
    });
    StreamResult {
        seq,
        verdict,
        tried,
        error: None,
    }
}

fn types(bodies: &[Value]) -> Vec<&str> {
    bodies
        .iter()
        .map(|body| body["attributes"]["event_type"].as_str().unwrap())
        .collect()
}

story! {
    async fn a_repeated_report_is_stored_once(world: World) {
        let hook = world.destination("hook").await.id;
        let first = world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        assert_eq!((first.accepted, first.repeated, first.queued_for), (2, 0, BTreeSet::from([hook])));
        let again = world.report(1, vec![report("b", 5, impression()), report("c", 9, impression())]).await;
        assert_eq!((again.accepted, again.repeated), (1, 1));
        let other = world.report(2, vec![report("a", 0, start(1))]).await;
        assert_eq!((other.accepted, other.repeated), (1, 0), "another device has ids of its own");
        let within = world.report(3, vec![report("a", 0, start(1)), report("a", 0, start(1))]).await;
        assert_eq!((within.accepted, within.repeated), (1, 1));
        let bodies = world.bodies(hook).await;
        assert_eq!(bodies.len(), 5);
        let ids: BTreeSet<_> = bodies.iter().map(|body| body["attributes"]["event_id"].to_string()).collect();
        assert_eq!(ids.len(), 5);
    }
}

story! {
    // Written in parts, so that no notification waits for the whole request, but counted as one.
    async fn a_large_request_is_written_in_parts(world: World) {
        let hook = world.destination("hook").await.id;
        let shown = |number: i64| report(&number.to_string(), number, impression());
        let mut reports: Vec<DeviceReport> = (1..=198).map(shown).collect();
        reports.insert(0, report("0", 0, start(1)));
        reports.push(shown(7));
        let taken = world.report(1, reports).await;
        assert_eq!((taken.accepted, taken.repeated, taken.queued_for), (199, 1, BTreeSet::from([hook])));
        let stored = |which: &str| world.count(&format!("device_events {which}"));
        assert_eq!(stored(""), 199);
        assert_eq!(stored("WHERE body LIKE '%session_started_at\":null%'"), 0, "the start is in the first part");
    }
}

story! {
    async fn a_wrong_clock_is_corrected_by_the_time_of_the_request(world: World) {
        let hook = world.destination("hook").await.id;
        let now = world.store.now().await.unwrap();
        let year = Duration::from_secs(365 * 86_400);
        let at = now.plus(year).minus(Duration::from_secs(60));
        let late = DeviceReport { time: at, ..report("a", 0, start(1)) };
        world.report_at(1, now.plus(year), vec![late]).await;
        let bodies = world.bodies(hook).await;
        let shown: Timestamp = bodies[0]["attributes"]["event_time"].as_str().unwrap().parse().unwrap();
        let age = world.store.now().await.unwrap().since(shown);
        assert!((60..70).contains(&age.as_secs()), "{age:?}");
        assert_eq!(bodies[0]["data"]["session_started_at"], bodies[0]["attributes"]["event_time"]);
    }
}

story! {
    async fn a_session_ends_once_by_the_app_or_by_silence(world: World) {
        let hook = world.destination("hook").await.id;
        world.report(1, vec![report("a", 0, start(1)), report("b", 7, end(session(1)))]).await;
        let again = world.report(1, vec![report("c", 9, end(session(1)))]).await;
        assert_eq!((again.accepted, again.repeated), (0, 1), "it has ended");
        world.report(1, vec![report("d", 10, start(2)), report("e", 20, Content::SessionEnd { session: session(3) })]).await;
        assert_eq!(world.store.end_idle_sessions(10).await.unwrap(), 0);
        world.make_sessions_idle();
        assert_eq!(world.store.end_idle_sessions(10).await.unwrap(), 1, "only the second session is open");
        assert_eq!(world.store.end_idle_sessions(10).await.unwrap(), 0);
        let late = world.report(1, vec![report("f", 30, end(session(2)))]).await;
        assert_eq!((late.accepted, late.repeated), (0, 1), "its end was announced");
        let bodies = world.bodies(hook).await;
        let ends: Vec<&Value> =
            bodies.iter().filter(|body| body["attributes"]["event_type"] == "device.session.end").collect();
        let closed = ends.iter().map(|body| (body["data"]["session_id"].clone(), body["data"]["closed_by"].clone()));
        let closed: Vec<_> = closed.collect();
        let expected = [(1, "app"), (3, "app"), (2, "timeout")].map(|(number, by)| (json!(session(number)), json!(by)));
        assert_eq!(closed, expected);
        assert_eq!(ends[2]["attributes"]["event_time"], ends[2]["data"]["session_started_at"], "of its last event");
    }
}

story! {
    async fn an_event_keeps_its_session_open(world: World) {
        world.report(1, vec![report("a", 0, start(1))]).await;
        world.make_sessions_idle();
        world.report(1, vec![report("b", 5, impression())]).await;
        assert_eq!(world.store.end_idle_sessions(10).await.unwrap(), 0);
    }
}

story! {
    async fn the_events_of_a_device_are_due_in_their_order(world: World) {
        let hook = world.destination("hook").await.id;
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        world.report(2, vec![report("a", 0, start(2))]).await;
        let batch = world.streamed(hook).await;
        let [first, second, other] = [0, 1, 2].map(|index: usize| batch.events[index].seq);
        let retry = StreamVerdict::Retry { delay: Duration::from_secs(60), counts: true };
        world.record(hook, &[(first, retry), (other, StreamVerdict::Delivered)]).await;
        match world.page(hook, "run/1").await {
            StreamPage::Next { wait: Some(StreamWait { wait, .. }), .. } => {
                assert!(wait > Duration::from_secs(50), "{wait:?}");
            }
            other => panic!("the second event waits for the first: {other:?}"),
        }
        world.report(3, vec![report("a", 0, start(3))]).await;
        let batch = world.streamed(hook).await;
        assert_eq!(batch.events.iter().map(|one| one.device_id).collect::<Vec<_>>(), [DeviceId::new(uuid(3))]);
        world.record(hook, &[(first, StreamVerdict::Delivered), (batch.events[0].seq, StreamVerdict::Failed)]).await;
        let batch = world.streamed(hook).await;
        assert_eq!(batch.events.iter().map(|one| one.seq).collect::<Vec<_>>(), [second]);
        world.record(hook, &[(second, StreamVerdict::Skipped)]).await;
        assert!(matches!(world.page(hook, "run/1").await, StreamPage::End));
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 0);
    }
}

story! {
    async fn the_events_of_a_device_come_as_they_were_stored(world: World) {
        let hook = world.destination("hook").await.id;
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        // The event happened before the last one, and was reported after it.
        world.report(1, vec![report("c", 2, impression())]).await;
        let seqs: Vec<i64> = world.streamed(hook).await.events.iter().map(|one| one.seq).collect();
        assert!(seqs.len() == 3 && seqs.is_sorted(), "{seqs:?}");
    }
}

story! {
    async fn one_run_has_the_stream(world: World) {
        let hook = world.destination("hook").await.id;
        world.report(1, vec![report("a", 0, start(1))]).await;
        let batch = world.streamed(hook).await;
        let seq = batch.events[0].seq;
        assert!(matches!(world.page(hook, "run/2").await, StreamPage::Wait(_)));
        world.store.release_stream(&lease(hook, "run/2")).await.unwrap();
        assert!(world.store.holds_stream(&lease(hook, "run/1")).await.unwrap());
        assert!(!world.store.holds_stream(&lease(hook, "run/2")).await.unwrap());
        // A run that lost the stream's lease may record deliveries, but not failures.
        let failed = done(seq, StreamVerdict::Failed);
        world.store.finish_stream(&lease(hook, "run/2"), vec![failed], None).await.unwrap();
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 1);
        let arrived = done(seq, StreamVerdict::Delivered);
        world.store.finish_stream(&lease(hook, "run/2"), vec![arrived], None).await.unwrap();
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 0);
    }
}

story! {
    async fn what_a_destination_chose_is_queued_for_it(world: World) {
        let all = world.destination("all").await.id;
        let mut some = new_destination(&world.app, "some");
        some.common.events = vec!["device.impression".to_owned()];
        let some = world.store.new_destination(some).await.unwrap().id;
        let mut none = new_destination(&world.app, "none");
        none.common.events = vec!["user.*".to_owned()];
        let none = world.store.new_destination(none).await.unwrap().id;
        let mut off = new_destination(&world.app, "off");
        off.common.enabled = false;
        let off = world.store.new_destination(off).await.unwrap().id;
        let accepted = world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        assert_eq!(accepted.queued_for, BTreeSet::from([all, some]), "queued for the disabled one too, which is not called");
        assert_eq!(types(&world.bodies(all).await), ["device.session.start", "device.impression"]);
        assert_eq!(types(&world.bodies(some).await), ["device.impression"]);
        assert!(matches!(world.page(none, "run/1").await, StreamPage::End));
        assert!(matches!(world.page(off, "run/1").await, StreamPage::Closed), "it is disabled");
        assert_eq!(world.store.stream_backlog(off).await.unwrap(), 2, "and pending for it");
        let pending: BTreeSet<_> = world.store.streams_pending().await.unwrap().into_iter().collect();
        assert_eq!(pending, BTreeSet::from([all, some]));
    }
}

story! {
    async fn a_platform_of_another_key_has_devices_of_its_own(world: World) {
        let keys = vec!["pk_other".to_owned(), world.platform.publishable_key.clone(), "pk_\0".to_owned()];
        let found = world.store.platforms_by_publishable_keys(keys).await.unwrap();
        assert_eq!(found.iter().map(|platform| platform.id).collect::<Vec<_>>(), [world.platform.id]);
        let unknown = DeviceRequest {
            platform: PlatformId::new(uuid(77)),
            device: device(1),
            secret: None,
            sent_at: world.store.now().await.unwrap(),
            received_at: Instant::now(),
            reports: vec![report("a", 0, start(1))],
            claiming: Claiming::Stored,
            network: String::new(),
        };
        assert!(world.store.accept_reports(unknown).await.is_err());
    }
}

impl World {
    /// Moves the deadlines of all open sessions by half an hour, so that they are idle.
    fn make_sessions_idle(&self) {
        let ago = 31 * MINUTE_MS * 1000;
        self.raw().run(&format!(
            "UPDATE device_sessions SET due_at = due_at - {ago}"
        ));
    }
}

story! {
    async fn what_is_old_is_removed(world: World) {
        let hook = world.destination("hook").await.id;
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, end(session(1))), report("c", 9, start(2))]).await;
        let now = world.store.now().await.unwrap();
        assert_eq!(world.store.forget_reports(now.minus(Duration::from_secs(60)), 10).await.unwrap(), 0);
        let after = now.plus(Duration::from_secs(31 * 60));
        assert_eq!(world.store.forget_reports(after, 2).await.unwrap(), 3, "two events and the session that has ended");
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 1);
        assert_eq!(world.store.forget_reports(after, 2).await.unwrap(), 1);
        assert_eq!(world.store.forget_reports(after, 2).await.unwrap(), 0);
        assert_eq!(world.count("device_sessions"), 1, "a session is open");
        assert_eq!(world.count("devices"), 1, "its device stays");
        world.raw().run("UPDATE device_sessions SET closed_at = due_at");
        assert_eq!(world.store.forget_reports(after, 2).await.unwrap(), 1);
        assert_eq!(world.count("devices"), 0, "nothing is known of it");
    }
}

story! {
    async fn many_requests_at_once_are_stored_whole(world: World) {
        let hook = world.destination("hook").await.id;
        let requests = (0..40_u128).map(|number| {
            let world = &world;
            async move {
                let reports = (0..25).map(|index| report(&format!("{number}-{index}"), index, impression()));
                world.report(number % 8, reports.collect()).await
            }
        });
        let accepted = futures::future::join_all(requests).await;
        assert!(accepted.iter().all(|one| (one.accepted, one.repeated) == (25, 0)));
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 1000);
        let page = world.streamed(hook).await.events;
        assert_eq!(page.len(), 8 * 50, "a part of each device");
        let devices: BTreeSet<_> = page.iter().map(|event| event.device_id).collect();
        assert_eq!(devices.len(), 8);
    }
}

story! {
    async fn a_page_begins_after_the_last_device(world: World) {
        let hook = world.destination("hook").await.id;
        for number in 1..=3 {
            world.report(number, vec![report("a", 0, start(number))]).await;
        }
        let first = world.streamed(hook).await;
        assert_eq!((first.events.len(), first.last_device), (3, DeviceId::new(uuid(3))));
        for (after, count) in [(1, 2), (2, 1)] {
            let lease = StreamLease { after: Some(DeviceId::new(uuid(after))), ..lease(hook, "run/1") };
            match world.store.lease_stream(lease).await.unwrap() {
                StreamPage::Send(batch) => assert_eq!(batch.events.len(), count),
                other => panic!("expected events, and it is {other:?}"),
            }
        }
        let behind = StreamLease { after: Some(DeviceId::new(uuid(3))), ..lease(hook, "run/1") };
        assert!(matches!(world.store.lease_stream(behind).await.unwrap(), StreamPage::End));
    }
}

story! {
    async fn failures_of_devices_open_the_breaker_and_a_probe_closes_it(world: World) {
        let hook = world.destination("hook").await.id;
        for number in 1..=12 {
            world.report(number, vec![report("a", 0, start(number))]).await;
        }
        let batch = world.streamed(hook).await;
        for event in &batch.events {
            let signal = EndpointSignal::Failure { pause: None };
            world.requested(&batch, event, signal).await;
        }
        assert_eq!(world.store.destination(hook).await.unwrap().state, domain::health::State::Open);
        // Although the first event is not due according to its schedule.
        let probe = world.streamed(hook).await;
        assert_eq!((probe.events.len(), probe.mode), (1, Mode::Probe));
        world.requested(&probe, &probe.events[0], EndpointSignal::Failure { pause: None }).await;
        assert!(matches!(world.page(hook, "run/1").await, StreamPage::Wait(_)), "one in half a minute");
        world.raw().run("UPDATE streams SET probed_at = 0");
        let probe = world.streamed(hook).await;
        let event = &probe.events[0];
        assert_eq!(event.attempts, 1, "a probe uses up no step of the schedule");
        world.now.fetch_add(1_000_000, Ordering::SeqCst);
        world.requested(&probe, event, EndpointSignal::Success).await;
        assert_eq!(world.store.destination(hook).await.unwrap().state, domain::health::State::Healthy);
        world.now.fetch_add(1_000_000, Ordering::SeqCst);
        let recovered = world.streamed(hook).await.events;
        assert!(recovered.len() >= 11, "what was tried before the recovery is due: {}", recovered.len());
    }
}

impl World {
    /// Records a request about one event that will be retried.
    async fn requested(
        &self,
        batch: &StreamBatch,
        event: &StreamedEvent,
        endpoint_signal: EndpointSignal,
    ) {
        let verdict = Verdict::Retry {
            delay: Duration::from_secs(5),
        };
        let delivery_id = domain::DeliveryId::new(uuid(1));
        let error = Some("the endpoint answered 500".to_owned());
        let judged = EventResult {
            delivery_id,
            verdict,
            class: AttemptClass::ServerError,
            error,
            counts: true,
        };
        let (lane_pause, user_pause, at_most, alarm) = (None, None, None, None);
        let events = vec![judged];
        let result = DeliveryResult {
            events,
            endpoint_signal,
            lane_pause,
            user_pause,
            at_most,
            alarm,
        };
        let disable_after = Duration::from_secs(5 * 86_400);
        let device = event.device_id;
        let request = StreamRequest {
            device,
            began: batch.at,
            mode: batch.mode,
            result,
            disable_after,
        };
        let retry = StreamVerdict::Retry {
            delay: Duration::from_secs(5),
            counts: true,
        };
        let lease = lease(batch.destination.id, "run/1");
        self.store
            .finish_stream(&lease, vec![done(event.seq, retry)], Some(request))
            .await
            .unwrap();
    }
}
