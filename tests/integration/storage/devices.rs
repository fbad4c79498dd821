//! What devices report: repetitions, sessions, and what destinations are owed of it.

use super::aging;
use super::world::{BEGINNING, World, new_destination, story};
use domain::device::{Content, Device, Impression};
use domain::{DestinationId, DeviceId, PlatformId, SessionId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{
    AcceptedReports, AttemptClass, Claimed, DeliveryResult, DestinationPatch, DeviceEventFilter, DeviceReport,
    DeviceRequest, EndpointSignal, EventResult, Idle, LimitsPatch, Mode, Page, StreamBatch, StreamClaim, StreamPage,
    StreamRequest, StreamResult, StreamStart, StreamStarted, StreamStatus, StreamVerdict, StreamWait, StreamedEvent,
    Tried, Verdict,
};
use tokio::time::Instant;
use uuid::Uuid;

const MINUTE_MS: i64 = 60_000;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x1111_1111_2222_4333_8444_0000_0000_0000 + number)
}

fn session(number: u128) -> SessionId {
    SessionId::new(uuid(1000 + number))
}

fn device(number: u128) -> Device {
    serde_json::from_value(json!({
        "id": uuid(number), "first_launch": "2027-01-01T00:00:00Z", "app_version": "1.0", "sdk_version": "web/1",
        "os": { "name": "fireos", "version": "8" },
    }))
    .unwrap()
}

fn impression() -> Content {
    let paywall = json!({ "paywall": "summer" });
    Content::Impression(serde_json::from_value::<Impression>(paywall).unwrap())
}

fn start(number: u128) -> Content {
    Content::SessionStart { session: session(number), receipts: Vec::new() }
}

const fn end(session: SessionId) -> Content {
    Content::SessionEnd { session }
}

/// An event at this many milliseconds after the beginning.
fn report(client_id: &str, at_ms: i64, content: Content) -> DeviceReport {
    let named = match &content {
        Content::SessionStart { session, .. } | Content::SessionEnd { session } => *session,
        Content::Impression(_) | Content::Transaction(_) => session(1),
    };
    let time = Timestamp::from_micros(BEGINNING).plus_millis(at_ms);
    DeviceReport { client_id: client_id.to_owned(), time, session: Some(named), content }
}

impl World {
    /// A request of a device whose clock is right.
    async fn report(&self, number: u128, reports: Vec<DeviceReport>) -> AcceptedReports {
        let sent_at = self.store.now().await.unwrap();
        self.report_at(number, sent_at, reports).await
    }

    async fn report_at(&self, number: u128, sent_at: Timestamp, reports: Vec<DeviceReport>) -> AcceptedReports {
        let (platform, received_at) = (self.platform.id, Instant::now());
        let request = DeviceRequest { platform, device: device(number), sent_at, received_at, reports };
        self.store.accept_reports(request).await.unwrap()
    }

    async fn page(&self, destination: DestinationId, token: &str) -> StreamPage {
        self.store.claim_stream(claim(destination, token)).await.unwrap()
    }

    /// What may be sent now.
    async fn streamed(&self, destination: DestinationId) -> Box<StreamBatch> {
        match self.page(destination, "run/1").await {
            StreamPage::Send(batch) => batch,
            other => panic!("expected events, and it is {other:?}"),
        }
    }

    async fn record(&self, destination: DestinationId, results: &[(i64, StreamVerdict)]) {
        let results = results.iter().map(|(seq, verdict)| done(*seq, *verdict));
        self.store.finish_stream(&claim(destination, "run/1"), results.collect(), None).await.unwrap();
    }

    /// The bodies of what may be sent now.
    async fn bodies(&self, destination: DestinationId) -> Vec<Value> {
        let batch = self.streamed(destination).await;
        batch.events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect()
    }
}

fn claim(destination: DestinationId, token: &str) -> StreamClaim {
    StreamClaim { destination, token: token.to_owned(), lease: Duration::from_secs(30), after: None }
}

/// A request was made, and this followed.
const fn done(seq: i64, verdict: StreamVerdict) -> StreamResult {
    let (class, status) = match verdict {
        StreamVerdict::Delivered => (AttemptClass::Success, 204),
        _ => (AttemptClass::ServerError, 500),
    };
    let tried = Some(Tried { class, status: Some(status), latency: Duration::from_millis(12) });
    StreamResult { seq, verdict, tried, error: None }
}

fn types(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["attributes"]["event_type"].as_str().unwrap()).collect()
}

story! {
    async fn a_repeated_report_is_stored_once(world: World) {
        let hook = world.destination("hook").await.id;
        let first = world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        assert_eq!((first.accepted, first.repeated, first.owing), (2, 0, BTreeSet::from([hook])));
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
        world.record(hook, &[(first, StreamVerdict::Delivered), (batch.events[0].seq, StreamVerdict::Dead)]).await;
        let batch = world.streamed(hook).await;
        assert_eq!(batch.events.iter().map(|one| one.seq).collect::<Vec<_>>(), [second]);
        world.record(hook, &[(second, StreamVerdict::Skipped)]).await;
        assert!(matches!(world.page(hook, "run/1").await, StreamPage::End));
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 0);
    }
}

story! {
    async fn one_run_has_the_stream(world: World) {
        let hook = world.destination("hook").await.id;
        world.report(1, vec![report("a", 0, start(1))]).await;
        let batch = world.streamed(hook).await;
        let seq = batch.events[0].seq;
        assert!(matches!(world.page(hook, "run/2").await, StreamPage::Wait(_)));
        world.store.release_stream(&claim(hook, "run/2")).await.unwrap();
        assert!(world.store.holds_stream(&claim(hook, "run/1")).await.unwrap());
        assert!(!world.store.holds_stream(&claim(hook, "run/2")).await.unwrap());
        // A run that lost the stream records what arrived, and gives nothing up.
        let dead = done(seq, StreamVerdict::Dead);
        world.store.finish_stream(&claim(hook, "run/2"), vec![dead], None).await.unwrap();
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 1);
        let arrived = done(seq, StreamVerdict::Delivered);
        world.store.finish_stream(&claim(hook, "run/2"), vec![arrived], None).await.unwrap();
        assert_eq!(world.store.stream_backlog(hook).await.unwrap(), 0);
    }
}

story! {
    async fn a_destination_is_owed_what_it_chose(world: World) {
        let all = world.destination("all").await.id;
        let mut some = new_destination(&world.app, "some");
        some.events = vec!["device.impression".to_owned()];
        let some = world.store.new_destination(some).await.unwrap().id;
        let mut none = new_destination(&world.app, "none");
        none.events = vec!["user.*".to_owned()];
        let none = world.store.new_destination(none).await.unwrap().id;
        let mut off = new_destination(&world.app, "off");
        off.enabled = false;
        let off = world.store.new_destination(off).await.unwrap().id;
        let accepted = world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        assert_eq!(accepted.owing, BTreeSet::from([all, some]), "the disabled one is owed, and not called");
        assert_eq!(types(&world.bodies(all).await), ["device.session.start", "device.impression"]);
        assert_eq!(types(&world.bodies(some).await), ["device.impression"]);
        assert!(matches!(world.page(none, "run/1").await, StreamPage::End));
        assert!(matches!(world.page(off, "run/1").await, StreamPage::Closed), "it is disabled");
        assert_eq!(world.store.stream_backlog(off).await.unwrap(), 2, "and owed");
        let owed: BTreeSet<_> = world.store.streams_owed().await.unwrap().into_iter().collect();
        assert_eq!(owed, BTreeSet::from([all, some]));
    }
}

story! {
    async fn a_platform_of_another_key_has_devices_of_its_own(world: World) {
        let found = world.store.platform_by_publishable_key(&world.platform.publishable_key).await.unwrap();
        assert_eq!(found.map(|platform| platform.id), Some(world.platform.id));
        assert_eq!(world.store.platform_by_publishable_key("pk_other").await.unwrap(), None);
        let unknown = DeviceRequest {
            platform: PlatformId::new(uuid(77)),
            device: device(1),
            sent_at: world.store.now().await.unwrap(),
            received_at: Instant::now(),
            reports: vec![report("a", 0, start(1))],
        };
        assert!(world.store.accept_reports(unknown).await.is_err());
    }
}

impl World {
    /// Lets half an hour pass for all open sessions.
    fn make_sessions_idle(&self) {
        let ago = 31 * MINUTE_MS * 1000;
        self.raw().run(&format!("UPDATE device_sessions SET due_at = due_at - {ago}"));
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
        assert_eq!(world.raw().number("SELECT COUNT(*) AS value FROM device_sessions"), 1, "a session is open");
        assert_eq!(world.raw().number("SELECT COUNT(*) AS value FROM devices"), 1, "its device stays");
        world.raw().run("UPDATE device_sessions SET closed_at = due_at");
        assert_eq!(world.store.forget_reports(after, 2).await.unwrap(), 1);
        assert_eq!(world.raw().number("SELECT COUNT(*) AS value FROM devices"), 0, "nothing is known of it");
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
            let claim = StreamClaim { after: Some(DeviceId::new(uuid(after))), ..claim(hook, "run/1") };
            match world.store.claim_stream(claim).await.unwrap() {
                StreamPage::Send(batch) => assert_eq!(batch.events.len(), count),
                other => panic!("expected events, and it is {other:?}"),
            }
        }
        let behind = StreamClaim { after: Some(DeviceId::new(uuid(3))), ..claim(hook, "run/1") };
        assert!(matches!(world.store.claim_stream(behind).await.unwrap(), StreamPage::End));
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
        // Though the first event is not due by its schedule.
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
    /// Records a request about one event that is to be sent again.
    async fn requested(&self, batch: &StreamBatch, event: &StreamedEvent, endpoint_signal: EndpointSignal) {
        let verdict = Verdict::Retry { delay: Duration::from_secs(5) };
        let delivery_id = domain::DeliveryId::new(uuid(1));
        let error = Some("the endpoint answered 500".to_owned());
        let judged = EventResult { delivery_id, verdict, class: AttemptClass::ServerError, error, counts: true };
        let (lane_pause, user_pause, at_most, alarm) = (None, None, None, None);
        let events = vec![judged];
        let result = DeliveryResult { events, endpoint_signal, lane_pause, user_pause, at_most, alarm };
        let disable_after = Duration::from_secs(5 * 86_400);
        let device = event.device_id;
        let request = StreamRequest { device, began: batch.at, mode: batch.mode, result, disable_after };
        let retry = StreamVerdict::Retry { delay: Duration::from_secs(5), counts: true };
        let claim = claim(batch.destination.id, "run/1");
        self.store.finish_stream(&claim, vec![done(event.seq, retry)], Some(request)).await.unwrap();
    }
}

story! {
    async fn events_are_listed_with_what_is_owed_of_them(world: World) {
        let hook = world.destination("hook").await.id;
        let mut some = new_destination(&world.app, "some");
        some.events = vec!["device.impression".to_owned()];
        let some = world.store.new_destination(some).await.unwrap().id;
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        world.report(2, vec![report("a", 9, impression())]).await;
        let batch = world.streamed(hook).await;
        let seqs: Vec<i64> = batch.events.iter().map(|event| event.seq).collect();
        let retry = StreamVerdict::Retry { delay: Duration::from_secs(60), counts: true };
        let failed = StreamResult { error: Some("x".repeat(2_000)), ..done(seqs[2], retry) };
        let dead = StreamResult { error: Some("refused".to_owned()), ..done(seqs[1], StreamVerdict::Dead) };
        let results = vec![done(seqs[0], StreamVerdict::Delivered), dead, failed];
        world.store.finish_stream(&claim(hook, "run/1"), results, None).await.unwrap();

        let list = async |filter: DeviceEventFilter| {
            let page = world.store.device_events(filter, Page::default()).await.unwrap();
            page.items.into_iter().map(|one| (one.event.client_id, one.event.device_id)).collect::<Vec<_>>()
        };
        let named = |client_id: &str, number: u128| (client_id.to_owned(), DeviceId::new(uuid(number)));
        let all = DeviceEventFilter::default();
        assert_eq!(list(all.clone()).await, [named("a", 2), named("b", 1), named("a", 1)]);
        let status = |status| DeviceEventFilter { status: Some(status), ..all.clone() };
        assert_eq!(list(status(StreamStatus::Dead)).await, [named("b", 1)]);
        assert_eq!(list(status(StreamStatus::Delivered)).await, [named("a", 1)]);
        assert_eq!(list(status(StreamStatus::Pending)).await, [named("a", 2), named("b", 1)]);
        assert_eq!(list(status(StreamStatus::Skipped)).await, []);
        let of = |id| DeviceEventFilter { destination_id: Some(id), ..status(StreamStatus::Pending) };
        assert_eq!(list(of(hook)).await, [named("a", 2)]);
        assert_eq!(list(of(some)).await, [named("a", 2), named("b", 1)]);
        let to_some = DeviceEventFilter { destination_id: Some(some), ..all.clone() };
        assert_eq!(list(to_some).await.len(), 2);
        let device_id = Some(DeviceId::new(uuid(1)));
        let one = DeviceEventFilter { device_id, client_id: Some("b".to_owned()), ..all.clone() };
        assert_eq!(list(one.clone()).await, [named("b", 1)]);
        let impressions = DeviceEventFilter { event_type: Some("device.impression".to_owned()), ..all.clone() };
        assert_eq!(list(impressions).await.len(), 2);
        let two = Page { limit: 2, ..Page::default() };
        let cursor = world.store.device_events(all.clone(), two).await.unwrap().next_cursor;
        let rest = Page { cursor, ..Page::default() };
        assert_eq!(world.store.device_events(all.clone(), rest).await.unwrap().items.len(), 1);

        let found = world.store.device_events(one, Page::default()).await.unwrap().items.remove(0);
        let full = world.store.device_event(found.event.id).await.unwrap();
        assert_eq!((&full.event, &full.body["data"]["paywall"]), (&found, &json!("summer")));
        let to = |id| found.deliveries.iter().find(|one| one.destination_id == id).unwrap();
        let ended = to(hook);
        assert_eq!((ended.status, ended.attempts, ended.last_status), (StreamStatus::Dead, 1, Some(500)));
        assert_eq!((ended.latency_ms, ended.last_error.as_deref()), (Some(12), Some("refused")));
        assert!(ended.next_due_at.is_none() && ended.finished_at.is_some() && ended.tried_at.is_some());
        let owed = to(some);
        assert!(owed.next_due_at.is_some() && owed.tried_at.is_none() && owed.last_class.is_none());
        let failed = world.store.device_events(of(hook), Page::default()).await.unwrap().items.remove(0);
        let error = failed.deliveries.iter().find_map(|one| one.last_error.clone()).unwrap();
        assert_eq!(error.len(), 500, "an error is bounded");
        assert!(world.store.device_event(domain::EventId::new(uuid(99))).await.is_err());
        let explained = world.store.explain_device_event(found.event.id).await.unwrap();
        assert_eq!((explained.app_id, explained.addressees.len()), (world.app.id, 2));
    }
}

story! {
    async fn the_audit_misses_what_a_destination_should_have_been_owed(world: World) {
        let hook = world.destination("hook").await.id;
        world.age(2 * aging::MINUTE_MS);
        world.report(1, vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        let batch = world.streamed(hook).await;
        world.record(hook, &[(batch.events[0].seq, StreamVerdict::Delivered)]).await;
        world.age(2 * aging::MINUTE_MS);
        assert_eq!(world.broken(1000).await, []);
        let mut raw = world.raw();
        for (change, undo, rule) in [
            (
                "UPDATE device_deliveries SET finished_at = NULL WHERE status = 'delivered'",
                "UPDATE device_deliveries SET finished_at = 1 WHERE status = 'delivered'",
                "a_device_status_fits",
            ),
            (
                "UPDATE device_deliveries SET last_status = 500 WHERE status = 'delivered'",
                "UPDATE device_deliveries SET last_status = 200 WHERE status = 'delivered'",
                "a_delivered_device_event_was_answered",
            ),
        ] {
            raw.run(change);
            assert_eq!(world.broken(1000).await, [(rule, 1)]);
            raw.run(undo);
            assert_eq!(world.broken(1000).await, []);
        }
        raw.run("DELETE FROM device_deliveries WHERE status = 'pending'");
        for limit in [1000, 1] {
            assert_eq!(world.broken(limit).await, [("a_device_event_was_owed", 1)]);
        }
    }
}

story! {
    async fn a_batch_is_sent_whole_again(world: World) {
        let hook = world.destination("hook").await.id;
        for number in 1..=3 {
            world.report(number, vec![report("a", 0, start(number)), report("b", 5, impression())]).await;
        }
        let batch = world.streamed(hook).await;
        let seqs: Vec<i64> = batch.events.iter().map(|event| event.seq).collect();
        // The first event of the first device, and both of the third one.
        let members = vec![seqs[0], seqs[4], seqs[5]];
        let batch_id = Some(domain::DeliveryId::new(uuid(500)));
        let start = StreamStart { seqs: members.clone(), batch_id };
        let started = world.store.start_stream_request(&claim(hook, "run/1"), start.clone()).await.unwrap();
        assert_eq!(started, StreamStarted::In(Duration::ZERO));
        let lost = world.store.start_stream_request(&claim(hook, "run/2"), start).await.unwrap();
        assert_eq!(lost, StreamStarted::Lost);
        let retry = StreamVerdict::Retry { delay: Duration::ZERO, counts: true };
        world.record(hook, &members.iter().map(|seq| (*seq, retry)).collect::<Vec<_>>()).await;
        let again = world.streamed(hook).await;
        let in_batch = again.events.iter().filter(|event| event.batch_id == batch_id).map(|event| event.seq);
        assert_eq!(in_batch.collect::<Vec<_>>(), members);
        world.raw().run("UPDATE destinations SET state = 'open'");
        let probe = world.streamed(hook).await;
        assert_eq!(probe.events.iter().map(|event| event.seq).collect::<Vec<_>>(), members, "a probe has the batch");
    }
}

story! {
    async fn a_stream_leaves_half_of_the_concurrency_to_purchases(world: World) {
        let hook = world.destination("hook").await.id;
        let limited = DestinationPatch {
            limits: LimitsPatch { concurrency: Some(4), ..LimitsPatch::default() },
            ..DestinationPatch::default()
        };
        world.store.update_destination(hook, limited).await.unwrap();
        for number in 1..=8 {
            world.report(number, vec![report("a", 0, start(number))]).await;
        }
        for number in 0..5 {
            world.revise(&format!("r{number}"), 1).await;
        }
        assert_eq!(world.streamed(hook).await.channels, 2, "half of the concurrency");
        let mut batches = Vec::new();
        for number in 0..2 {
            match world.claim(world.key(&format!("r{number}")), hook, "a").await {
                Claimed::Send(batch) => batches.push(batch),
                other => panic!("there is room for purchase {number}: {other:?}"),
            }
        }
        let third = world.claim(world.key("r2"), hook, "a").await;
        assert!(matches!(third, Claimed::Idle(Idle::Owed { .. })), "two and the stream's two are four: {third:?}");
        world.store.release_stream(&claim(hook, "run/1")).await.unwrap();
        for number in 2..4 {
            assert!(matches!(world.claim(world.key(&format!("r{number}")), hook, "a").await, Claimed::Send(_)));
        }
        assert!(matches!(world.page(hook, "run/1").await, StreamPage::Wait(_)), "purchases make all four");
        let fifth = world.claim(world.key("r4"), hook, "a").await;
        assert!(matches!(fifth, Claimed::Idle(Idle::Owed { .. })), "{fifth:?}");
    }
}

story! {
    async fn a_stream_and_purchases_share_the_rate(world: World) {
        let hook = world.destination("hook").await.id;
        let limited =
            DestinationPatch { limits: LimitsPatch { rate: Some(Some(1)), ..LimitsPatch::default() }, ..DestinationPatch::default() };
        world.store.update_destination(hook, limited).await.unwrap();
        world.report(1, vec![report("a", 0, start(1))]).await;
        world.revise("r1", 1).await;
        world.streamed(hook).await;
        let mut waits = Vec::new();
        loop {
            match world.store.start_stream_request(&claim(hook, "run/1"), StreamStart::default()).await.unwrap() {
                StreamStarted::In(wait) => waits.push(wait.as_secs_f64().round()),
                StreamStarted::Later(_) => break,
                StreamStarted::Lost => panic!("the stream is held"),
            }
        }
        assert_eq!(waits, [0.0, 1.0, 2.0], "one a second, two seconds ahead at most");
        let claimed = world.claim(world.key("r1"), hook, "a").await;
        assert!(matches!(claimed, Claimed::Idle(Idle::Owed { .. })), "the purchase comes after them: {claimed:?}");
    }
}
