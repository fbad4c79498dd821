//! Builds the tree of an explanation: notifications, revisions, events, deliveries, attempts.

use super::node::Node;
use super::sentences::{self, Unsent, unsent};
use domain::{CollapseKey, Timestamp};
use serde_json::Value;
use storage::{
    Addressee, AnnouncedEvent, Destination, DestinationExplanation, DeviceEventExplanation,
    DeviceEventView, EventExplanation, MessageExplanation, PurchaseExplanation, PurchaseView,
    ReceivedNotification, Sending,
};

/// Returns the tree of a store's message.
pub fn message(message_id: &str, of: &MessageExplanation) -> Node {
    let notifications = of.notifications.iter().map(|(one, events)| {
        notification(one, of.now).then(
            events
                .iter()
                .map(|event| event_with_deliveries(event, &of.addressees, of.now)),
        )
    });
    Node::new("message", sentences::message(message_id, of))
        .fact("message_id", message_id)
        .then(notifications)
}

pub fn purchase(key: CollapseKey, of: &PurchaseExplanation) -> Node {
    let node = Node::new("purchase", sentences::purchase(key, of)).fact("collapse_key", key);
    let node = match &of.purchase {
        Some(view) => node.of(&PurchaseView {
            data: Value::Null,
            ..view.clone()
        }),
        None => node,
    };
    let notifications = Node::new("notifications", sentences::notifications(of));
    let claims = of
        .claims
        .iter()
        .map(|claim| Node::new("claim", sentences::claim(claim)).of(claim));
    let duties = of.duties.iter().map(|duty| {
        let sentence = sentences::duty(duty, &of.store, of.now);
        Node::new("duty", sentence).of(duty)
    });
    let revisions = of
        .events
        .chunk_by(|a, b| a.event.revision == b.event.revision)
        .filter_map(|events| {
            let revision = events.first()?.event.revision;
            let settled = || {
                of.notifications
                    .iter()
                    .filter(|one| sentences::is_settled_in(one, revision))
            };
            let causes = events
                .iter()
                .find_map(|one| one.event.causes.clone())
                .unwrap_or_default();
            let sentence = sentences::revision(revision, settled(), &causes);
            let events = events
                .iter()
                .map(|event| event_with_deliveries(event, &of.addressees, of.now));
            let node = Node::new("revision", sentence).fact("revision", revision);
            Some(
                node.fact("notifications", settled().count())
                    .fact("causes", causes)
                    .then(events),
            )
        });
    let received = of.notifications.iter().map(|one| notification(one, of.now));
    let node = node
        .then([notifications.then(received)])
        .then(claims)
        .then(duties)
        .then(revisions);
    if of.events.is_empty() {
        node.then([Node::new("nothing", sentences::no_events())])
    } else {
        node
    }
}

pub fn event(of: &EventExplanation) -> Node {
    let node = event_with_deliveries(&of.event, &of.addressees, of.now);
    if of.event.transfer.is_some() {
        return node;
    }
    let causes = Node::new("notifications", sentences::causes_of(of))
        .then(of.notifications.iter().map(|one| notification(one, of.now)));
    Node {
        then: std::iter::once(causes).chain(node.then).collect(),
        ..node
    }
}

/// Returns the tree of a device event.
pub fn device_event(of: &DeviceEventExplanation) -> Node {
    let DeviceEventExplanation {
        event: DeviceEventView { event, deliveries },
        app_id,
        addressees,
        now,
    } = of;
    let node = Node::new("event", sentences::device_event(event))
        .of(event)
        .fact("app_id", app_id);
    let mut below = vec![Node::new("notifications", sentences::no_notification())];
    for addressee in addressees {
        match deliveries
            .iter()
            .find(|one| one.destination_id == addressee.destination.id)
        {
            Some(one) => below.push(
                Node::new("delivery", sentences::device_delivery(one, addressee, *now))
                    .of(one)
                    .to(&addressee.destination),
            ),
            None => below.extend(
                sentences::device_event_unsent(event, addressee)
                    .map(|why| not_sent(why, addressee)),
            ),
        }
    }
    if below.len() == 1 {
        below.push(Node::new("nobody", sentences::nobody()));
    }
    node.then(below)
}

pub fn destination(of: &DestinationExplanation) -> Node {
    let addressee = &of.addressee;
    let sending = |one: &Sending| {
        let node = delivery(one, addressee, of.now)
            .fact("receipt_id", of.store_ids.get(&one.delivery.collapse_key));
        Node {
            summary: sentences::delivery_of(of, one),
            ..node
        }
    };
    let all = |sendings: &[Sending]| -> Vec<Node> { sendings.iter().map(sending).collect() };
    let Destination {
        id,
        app_id,
        kind,
        common,
        state,
        since,
        ..
    } = &addressee.destination;
    let (name, enabled) = (&common.name, common.enabled);
    let backlog = &of.backlog;
    Node::new("destination", sentences::destination(of))
        .fact("destination_id", id)
        .fact("app_id", app_id)
        .fact("kind", kind)
        .fact("name", name)
        .fact("state", state.as_str())
        .fact("shown_state", of.shown_state)
        .fact("enabled", enabled)
        .fact("since", since)
        .fact("health", &addressee.health)
        .fact("deleted_at", addressee.deleted_at)
        .fact("chosen_at", addressee.chosen_at)
        .then([Node::new(
            "choice",
            sentences::choice(&addressee.destination),
        )])
        .then(sentences::health(&addressee.health).map(|sentence| Node::new("health", sentence)))
        .then([
            Node::new("pending", sentences::pending(of))
                .fact("pending", addressee.health.pending)
                .fact("waiting", backlog.waiting)
                .then(all(&of.pending)),
            Node::new("failed", sentences::failed(of))
                .fact("failed", backlog.failed)
                .then(all(&of.failed)),
        ])
        .then(sentences::skipped(of).map(|sentence| {
            Node::new("skipped", sentence)
                .fact("skipped", backlog.skipped)
                .then(all(&of.skipped))
        }))
        .then(of.unchosen.iter().map(|one| {
            Node::new(
                "not_chosen",
                sentences::unchosen(&addressee.destination, one),
            )
            .fact("event_type", &one.event_type)
            .fact("payments", one.payments)
            .fact("usd", one.usd.map(|usd| usd.to_string()))
            .fact("is_least", one.is_least)
            .then(one.latest.iter().map(|payment| {
                Node::new("payment", sentences::unchosen_payment(of, payment))
                    .fact("collapse_key", payment.collapse_key)
                    .fact("receipt_id", of.store_ids.get(&payment.collapse_key))
                    .fact("occurred_at", payment.occurred_at)
                    .fact("usd", payment.usd.map(|usd| usd.to_string()))
            }))
        }))
        .then(sentences::next_step(of).map(|sentence| Node::new("next", sentence)))
}

fn notification(one: &ReceivedNotification, now: Timestamp) -> Node {
    Node::new("notification", sentences::notification(one, now)).of(one)
}

/// Returns the node of an event, with its deliveries and the destinations that did not receive it.
fn event_with_deliveries(
    announced: &AnnouncedEvent,
    addressees: &[Addressee],
    now: Timestamp,
) -> Node {
    let changes = announced
        .changes
        .as_ref()
        .map(|all| Node::new("changes", sentences::changes(all)).fact("changes", all));
    let transfer = announced.transfer.as_ref().map(|of| {
        Node::new("transfer", sentences::transfer(of))
            .fact("transfer_id", of.id)
            .fact("moved_at", of.created_at)
    });
    let mut node = Node::new("event", sentences::event(&announced.event))
        .of(&announced.event)
        .then(changes)
        .then(transfer);
    let without_deliveries = node.then.len();
    for addressee in addressees {
        let mine = |sending: &&Sending| sending.delivery.destination_id == addressee.destination.id;
        let sent: Vec<Node> = announced
            .sendings
            .iter()
            .filter(mine)
            .map(|one| delivery(one, addressee, now))
            .collect();
        if sent.is_empty() {
            node.then
                .extend(unsent(&announced.event, addressee).map(|why| not_sent(why, addressee)));
        }
        node.then.extend(sent);
    }
    if node.then.len() == without_deliveries {
        node.then([Node::new("nobody", sentences::nobody())])
    } else {
        node
    }
}

fn not_sent(Unsent { code, sentence }: Unsent, addressee: &Addressee) -> Node {
    Node::new("not_sent", sentence)
        .fact("why", code)
        .to(&addressee.destination)
}

fn delivery(one: &Sending, addressee: &Addressee, now: Timestamp) -> Node {
    let earlier = sentences::earlier_attempts(one).map(|sentence| Node::new("attempts", sentence));
    Node::new("delivery", sentences::delivery(one, addressee, now))
        .of(&one.delivery)
        .to(&addressee.destination)
        .fact("superseded_by", &one.successor)
        .then(earlier)
        .then(
            one.attempts
                .iter()
                .map(|attempt| Node::new("attempt", sentences::attempt(attempt)).of(attempt)),
        )
}

impl Node {
    /// Adds the node's destination as facts.
    fn to(self, destination: &Destination) -> Self {
        let Destination {
            id, kind, common, ..
        } = destination;
        self.fact("destination_id", id)
            .fact("destination", &common.name)
            .fact("kind", kind)
    }
}
