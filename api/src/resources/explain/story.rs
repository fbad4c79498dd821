//! One under the other: notification, outcome, revision, events, deliveries, attempts.

use super::node::Node;
use super::words::{self, NotTold};
use domain::{CollapseKey, Timestamp};
use serde_json::Value;
use storage::{
    Addressee, AnnouncedEvent, Destination, OfDestination, OfEvent, OfMessage, OfPurchase, PurchaseView,
    ReceivedNotification, Sending,
};

/// A message of a store.
pub fn message(message_id: &str, of: &OfMessage) -> Node {
    let notifications = of.notifications.iter().map(|(one, told)| {
        let whom = (of.addressees.as_slice(), of.now);
        heard(one).then(told.iter().map(|event| told_on(event, whom)))
    });
    Node::new("message", words::message(message_id, of)).fact("message_id", message_id).then(notifications)
}

/// A purchase.
pub fn purchase(key: CollapseKey, of: &OfPurchase) -> Node {
    let node = Node::new("purchase", words::purchase(key, of)).fact("collapse_key", key);
    let node = match &of.purchase {
        Some(view) => node.of(&PurchaseView { data: Value::Null, ..view.clone() }),
        None => node,
    };
    let told_to_us = Node::new("notifications", words::told_to_us(&of.notifications, of.has_older));
    let revisions = of.events.chunk_by(|a, b| a.event.revision == b.event.revision).filter_map(|told| {
        let revision = told.first()?.event.revision;
        let settled = of.notifications.iter().filter(|one| words::is_settled_in(one, revision)).count();
        let says = words::revision(revision, settled);
        let events = told.iter().map(|event| told_on(event, (of.addressees.as_slice(), of.now)));
        Some(Node::new("revision", says).fact("revision", revision).then(events))
    });
    let node = node.then([told_to_us.then(of.notifications.iter().map(heard))]).then(revisions);
    if of.events.is_empty() { node.then([Node::new("nothing", words::nothing_told())]) } else { node }
}

/// An event.
pub fn event(of: &OfEvent) -> Node {
    let node = told_on(&of.event, (of.addressees.as_slice(), of.now));
    let causes =
        Node::new("notifications", words::caused_by(&of.notifications)).then(of.notifications.iter().map(heard));
    Node { then: std::iter::once(causes).chain(node.then).collect(), ..node }
}

/// A destination.
pub fn destination(of: &OfDestination) -> Node {
    let whom = &of.portrait.addressee;
    let all = |sendings: &[Sending]| -> Vec<Node> { sendings.iter().map(|one| delivery(one, whom, of.now)).collect() };
    let Destination { id, app_id, kind, name, state, enabled, since, .. } = &whom.destination;
    let owes = &of.portrait.owes;
    Node::new("destination", words::destination(&of.portrait, of.now))
        .fact("destination_id", id)
        .fact("app_id", app_id)
        .fact("kind", kind)
        .fact("name", name)
        .fact("state", state)
        .fact("enabled", enabled)
        .fact("since", since)
        .fact("health", &whom.health)
        .fact("deleted_at", whom.deleted_at)
        .fact("chosen_at", whom.chosen_at)
        .then([Node::new("choice", words::choice(&whom.destination))])
        .then(words::fares(&whom.health).map(|says| Node::new("health", says)))
        .then([
            Node::new("owed", words::owed(&of.portrait))
                .fact("pending", whom.health.owed)
                .fact("waiting", owes.waiting)
                .then(all(&of.portrait.owed)),
            Node::new("dead", words::dead(&of.portrait)).fact("dead", owes.dead).then(all(&of.portrait.dead)),
        ])
}

fn heard(one: &ReceivedNotification) -> Node {
    Node::new("notification", words::heard(one)).of(one)
}

/// An event with whom it was told and whom not.
fn told_on(told: &AnnouncedEvent, (addressees, now): (&[Addressee], Timestamp)) -> Node {
    let changes = told.changes.as_ref().map(|all| Node::new("changes", words::changes(all)).fact("changes", all));
    let mut node = Node::new("event", words::event(&told.event)).of(&told.event).then(changes);
    let before_whom = node.then.len();
    for whom in addressees {
        let mine = |sending: &&Sending| sending.delivery.destination_id == whom.destination.id;
        let sent: Vec<Node> = told.sendings.iter().filter(mine).map(|one| delivery(one, whom, now)).collect();
        if sent.is_empty() {
            node.then.extend(NotTold::of(&told.event, whom).map(|why| not_told(why, whom)));
        }
        node.then.extend(sent);
    }
    if node.then.len() == before_whom { node.then([Node::new("nobody", words::nobody())]) } else { node }
}

fn not_told(why: NotTold, whom: &Addressee) -> Node {
    Node::new("not_told", why.says(whom)).fact("why", why.word()).to(&whom.destination)
}

fn delivery(one: &Sending, whom: &Addressee, now: Timestamp) -> Node {
    let earlier = words::earlier_attempts(one).map(|says| Node::new("attempts", says));
    Node::new("delivery", words::delivery(one, whom, now))
        .of(&one.delivery)
        .to(&whom.destination)
        .fact("superseded_by", &one.successor)
        .then(earlier)
        .then(one.attempts.iter().map(|attempt| Node::new("attempt", words::attempt(attempt)).of(attempt)))
}

impl Node {
    /// The same with the name of the destination that it is about.
    fn to(self, Destination { id, name, kind, .. }: &Destination) -> Self {
        self.fact("destination_id", id).fact("destination", name).fact("kind", kind)
    }
}
