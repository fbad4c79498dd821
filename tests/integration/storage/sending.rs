//! Leasing lanes and finishing requests in a world.

use super::world::{LEASE_MS, Report, World, happened, record, reported};
use domain::event::{PURCHASE_UPDATED, for_destination};
use domain::time::duration;
use domain::{CollapseKey, DestinationId, NotificationKind, TransitionKind};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{
    Attempt, AttemptClass, Batch, DeliveryResult, Destination, EndpointSignal, EventResult, Finish,
    FinishResult, LaneState, Lease, LeaseResult, Mode, Render, Rendered, Store, Unsent, Verdict,
};
use system_tests::rows::{self, Rows};

pub const HOUR_MS: i64 = 3_600_000;
pub const PATIENCE: Duration = protocols::destinations::schedule::DISABLE_AFTER;

/// A leased request; dereferences to its first attempt.
#[derive(Debug)]
pub struct Sent {
    pub batch: Box<Batch>,
    pub key: CollapseKey,
    pub to: DestinationId,
    pub token: String,
    pub mode: Mode,
}

impl Deref for Sent {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.batch.attempts[0]
    }
}

impl Sent {
    pub fn types(&self) -> Vec<&str> {
        self.batch
            .attempts
            .iter()
            .map(|attempt| attempt.event_type.as_str())
            .collect()
    }
}

/// Returns a renderer for bodies in the form of a webhook.
pub fn render() -> Render {
    Arc::new(|destination: &Destination, unsent: &Unsent| {
        let body = unsent.body.clone();
        let is_state = unsent.event_type == PURCHASE_UPDATED;
        let body_sent = if is_state {
            for_destination(body, destination.id, unsent.acked_revision)
        } else {
            body
        };
        let body = body_sent.to_string();
        match unsent.earned.as_ref().and_then(storage::Earned::revenue) {
            Some(usd) => Rendered::Revenue {
                body,
                usd: usd.to_owned(),
            },
            None => Rendered::Body(body),
        }
    })
}

pub fn rendering(render: impl Fn(&Unsent) -> Rendered + Send + Sync + 'static) -> Render {
    Arc::new(move |_: &Destination, unsent: &Unsent| render(unsent))
}

/// Returns a lease of a lane for the purchase's run.
pub fn lease(key: CollapseKey, to: DestinationId, token: &str) -> Lease {
    Lease {
        key,
        destination: to,
        token: token.to_owned(),
        duration: duration(LEASE_MS),
        mode: Mode::Lane,
        at_most: 10,
        render: render(),
    }
}

/// Leases a lane, in which something must be due.
pub async fn must_send(store: &Store, lease: Lease) -> Sent {
    let (key, to, token, mode) = (
        lease.key,
        lease.destination,
        lease.token.clone(),
        lease.mode,
    );
    match store.lease(lease).await.unwrap() {
        LeaseResult::Send(batch) => Sent {
            batch,
            key,
            to,
            token,
            mode,
        },
        other => panic!("nothing to send: {other:?}"),
    }
}

/// Returns the end of a request with this verdict for all its events, answered 200 or 500.
pub fn finish(sent: &Sent, verdict: Verdict) -> Finish {
    let failed = !matches!(verdict, Verdict::Delivered);
    let judged = |attempt: &Attempt| EventResult {
        delivery_id: attempt.delivery_id,
        class: if failed {
            AttemptClass::ServerError
        } else {
            AttemptClass::Success
        },
        error: failed.then(|| "the endpoint answered 500".to_owned()),
        counts: true,
        verdict,
    };
    Finish {
        key: sent.key,
        destination: sent.to,
        token: sent.token.clone(),
        mode: sent.mode,
        started_at: sent.batch.lease_until,
        latency: Duration::from_millis(12),
        status: Some(if failed { 500 } else { 200 }),
        headers: vec![("retry-after".to_owned(), "7".to_owned())],
        response: Some("body".to_owned()),
        result: DeliveryResult {
            events: sent.batch.attempts.iter().map(judged).collect(),
            endpoint_signal: if failed {
                EndpointSignal::Failure { pause: None }
            } else {
                EndpointSignal::Success
            },
            lane_pause: None,
            user_pause: None,
            at_most: None,
            alarm: None,
        },
        disable_after: PATIENCE,
    }
}

pub const RETRY: Verdict = Verdict::Retry {
    delay: Duration::from_secs(5),
};

impl World {
    pub async fn lease(&self, key: CollapseKey, to: DestinationId, token: &str) -> LeaseResult {
        self.store.lease(lease(key, to, token)).await.unwrap()
    }

    /// Leases a lane, in which something must be due.
    pub async fn attempt(&self, key: CollapseKey, to: DestinationId, token: &str) -> Sent {
        must_send(&self.store, lease(key, to, token)).await
    }

    /// Like [`Self::attempt`], in another mode.
    pub async fn attempt_as(
        &self,
        mode: Mode,
        key: CollapseKey,
        to: DestinationId,
        token: &str,
    ) -> Sent {
        must_send(
            &self.store,
            Lease {
                mode,
                ..lease(key, to, token)
            },
        )
        .await
    }

    /// Finishes a request, and returns the lane's state.
    pub async fn finish(&self, sent: &Sent, verdict: Verdict) -> LaneState {
        self.end(finish(sent, verdict)).await.lane
    }

    pub async fn end(&self, finish: Finish) -> FinishResult {
        self.store.finish(finish).await.unwrap()
    }

    /// Leases a lane, in which something must be due, and finishes the request with this verdict.
    pub async fn send(&self, receipt: &str, to: DestinationId, verdict: Verdict) -> FinishResult {
        let sent = self
            .attempt(self.key(receipt), to, &format!("send-{receipt}"))
            .await;
        self.end(finish(&sent, verdict)).await
    }

    /// Creates a destination that receives one request at a time about each user, with up to ten events.
    pub async fn analytics(&self, name: &str) -> Destination {
        let mut new = super::world::new_destination(&self.app, name);
        new.traits.per_user = true;
        new.traits.per_request = 10;
        self.store.new_destination(new).await.unwrap()
    }

    /// Settles transitions of a customer's purchase.
    pub async fn happen_to(&self, customer: &str, receipt: &str, whats: &[TransitionKind]) -> i64 {
        let report = Report {
            kind: NotificationKind::Renewed,
            customer: Some(customer),
            related: None,
        };
        let number = self.load(self.key(receipt)).await.revision + 1;
        let notification = reported(
            self.platform.id,
            &format!("{receipt}-{number}"),
            receipt,
            number * 1000,
            report,
        );
        self.accept(notification).await;
        let key = self.key(receipt);
        self.done(happened(record(key, &self.load(key).await), whats))
            .await
    }

    /// Inserts a `user.*` event and its delivery, without a `purchase.updated`.
    pub fn owe_user_event(
        &self,
        key: CollapseKey,
        to: DestinationId,
        event_type: &str,
        number: i64,
    ) {
        let event = domain::EventId::of(key, 1, number, event_type, 0);
        let delivery = domain::DeliveryId::of(to, event, 0);
        let now = if self.is_postgres() {
            "(SELECT MAX(created_at) FROM purchases)".to_owned()
        } else {
            self.now.load(Ordering::SeqCst).to_string()
        };
        let body = serde_json::json!({ "event": event_type });
        let row = |rows: Rows| {
            rows.text("collapse_key", key)
                .text("event_type", event_type)
                .sql("revision", number)
        };
        let row = |rows: Rows| row(rows).sql("created_at", &now);
        self.raw().run(
            &row(rows::events())
                .text("id", event)
                .text("body", body)
                .sql("environment", "NULL"),
        );
        let delivery = row(rows::deliveries())
            .text("id", delivery)
            .text("event_id", event);
        self.raw()
            .run(&delivery.text("destination_id", to).sql("next_due_at", now));
    }
}
