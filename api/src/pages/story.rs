//! The timeline of a purchase or an event, from the tree of its explanation. The sentences are those of the
//! explanation; they are only arranged here. This module is pure.

use crate::changed::Changed;
use crate::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::text::{capital, delivery_status};
use crate::visit::Visit;
use api::resources::explain::node::Node;
use domain::Timestamp;
use domain::device::claim::CLAIM_STORE_TYPE;
use serde_json::Value;

/// Something that happened to the purchase.
pub struct TimelineEntry {
    pub at: Moment,
    pub badge: Badge,
    pub sentence: Sentence,
    /// Id of the entry, if it has one.
    pub id: Option<Code>,
    /// When its window ends, if it is open.
    pub closes: Option<Moment>,
    /// Whether this entry is the result of a search.
    pub is_marked: bool,
    /// The fields of the record that the entry changed.
    pub changes: Vec<Changed>,
    /// The notifications that were settled together in the entry.
    pub causes: Vec<Cause>,
    pub events: Vec<Event>,
    order: Timestamp,
}

impl TimelineEntry {
    /// Returns whether one of the entry's notifications is the result of a search.
    pub fn is_cause_marked(&self) -> bool {
        self.causes.iter().any(|cause| cause.is_marked)
    }
}

pub struct Cause {
    pub name: String,
    pub sentence: Sentence,
    /// The store's id of the notification's message.
    pub message: Code,
    /// Whether this notification is the result of a search.
    pub is_marked: bool,
}

pub struct Event {
    pub name: String,
    pub path: String,
    pub id: Code,
    pub sentence: Sentence,
    /// Changes and moves that the entry caused.
    pub notes: Vec<Sentence>,
    pub sendings: Vec<Sending>,
    /// Whether this event is the result of a search.
    pub is_marked: bool,
}

impl Event {
    /// Returns whether the event is shown expanded: it is the result of a search, or it has not reached every
    /// destination.
    pub fn is_open(&self) -> bool {
        self.is_marked
            || self
                .sendings
                .iter()
                .any(|sending| sending.is_marked || !sending.is_done)
    }
}

/// The delivery of an event to a destination, or the reason why there is none.
pub struct Sending {
    /// The destination's name; empty in the sentence that there is none.
    pub to: String,
    pub to_path: Option<String>,
    pub path: Option<String>,
    pub badge: Badge,
    /// Whether it was delivered, or replaced by a newer state.
    pub is_done: bool,
    pub sentence: Sentence,
    /// Id of the delivery, by which its receiver detects duplicates.
    pub id: Option<Code>,
    pub attempts: Vec<Attempt>,
    /// Whether this delivery is the result of a search.
    pub is_marked: bool,
}

pub struct Attempt {
    pub sentence: Sentence,
    pub badge: Option<Badge>,
    /// The response: its headers and the beginning of its body.
    pub answer: Option<String>,
}

/// Returns the timeline of a purchase from its tree, newest first. `mark` is the id that was searched for.
pub fn chapters(tree: &Node, mark: Option<&str>, visit: &Visit) -> Vec<TimelineEntry> {
    let marks = Marks { mark, visit };
    let notifications: Vec<&Node> = below(tree, "notifications")
        .flat_map(|node| below(node, "notification"))
        .collect();
    let settled_in = |revision: i64| {
        notifications.iter().copied().filter(move |one| {
            text(one, "outcome") == Some("settled") && number(one, "revision") == Some(revision)
        })
    };
    let mut chapters: Vec<TimelineEntry> = below(tree, "revision")
        .map(|node| {
            let revision = number(node, "revision").unwrap_or(0);
            marks.revision(node, settled_in(revision))
        })
        .collect();
    let shown: Vec<i64> = below(tree, "revision")
        .filter_map(|node| number(node, "revision"))
        .collect();
    let is_apart = |one: &&&Node| {
        let is_settled = text(one, "outcome") == Some("settled");
        !(is_settled && number(one, "revision").is_some_and(|revision| shown.contains(&revision)))
    };
    chapters.extend(
        notifications
            .iter()
            .filter(is_apart)
            .map(|one| marks.notification(one)),
    );
    chapters.extend(below(tree, "claim").map(|one| marks.claim(one)));
    chapters.extend(below(tree, "duty").map(|one| marks.duty(one)));
    chapters.sort_by_key(|chapter| std::cmp::Reverse(chapter.order));
    chapters
}

/// Returns the cause of an event: the sentence about it, and the notifications.
pub fn causes(tree: &Node, visit: &Visit) -> (Option<Sentence>, Vec<Cause>) {
    let marks = Marks { mark: None, visit };
    let summary = below(tree, "notifications")
        .next()
        .map(|node| Sentence::new(&capital(&node.summary)));
    let all = below(tree, "notifications").flat_map(|node| below(node, "notification"));
    (summary, all.map(|one| marks.cause(one)).collect())
}

/// Returns the event of a tree, and the fields of the record that it changed.
pub fn event(tree: &Node, visit: &Visit) -> (Event, Vec<Changed>) {
    let marks = Marks { mark: None, visit };
    (
        marks.event(tree),
        below(tree, "changes").flat_map(changes).collect(),
    )
}

pub fn sending(node: &Node, visit: &Visit) -> Option<Sending> {
    Marks { mark: None, visit }.sending(node)
}

struct Marks<'a> {
    mark: Option<&'a str>,
    visit: &'a Visit,
}

impl Marks<'_> {
    fn is(&self, id: Option<&str>) -> bool {
        self.mark.is_some() && id == self.mark
    }

    fn revision<'n>(&self, node: &Node, settled: impl Iterator<Item = &'n Node>) -> TimelineEntry {
        let events: Vec<&Node> = below(node, "event").collect();
        let order = events
            .first()
            .and_then(|event| time(event, "created_at"))
            .unwrap_or(Timestamp::from_micros(0));
        let changes = events
            .iter()
            .flat_map(|event| below(event, "changes"))
            .flat_map(changes)
            .collect();
        let revision = number(node, "revision").unwrap_or(0);
        TimelineEntry {
            at: Moment::at(order),
            badge: Badge::new(Tone::Good, format!("Revision {revision}")),
            sentence: Sentence::new(&capital(&node.summary)),
            id: None,
            closes: None,
            is_marked: false,
            changes,
            causes: settled.map(|one| self.cause(one)).collect(),
            events: events.into_iter().map(|event| self.event(event)).collect(),
            order,
        }
    }

    fn cause(&self, node: &Node) -> Cause {
        Cause {
            name: text(node, "store_type").unwrap_or_default().to_owned(),
            sentence: Sentence::new(&capital(&node.summary)),
            message: Code::short(text(node, "message_id").unwrap_or_default()),
            is_marked: self.is(text(node, "message_id")),
        }
    }

    fn notification(&self, node: &Node) -> TimelineEntry {
        let order = time(node, "accepted_at").unwrap_or(Timestamp::from_micros(0));
        let waits = text(node, "waiting_for");
        let (tone, label) = match (text(node, "outcome"), waits) {
            (None, Some("window")) => (Tone::Busy, "Window open"),
            (None, Some("hold")) => (Tone::Warn, "Held"),
            (None, Some("parked" | "verification" | "confirmation")) => {
                (Tone::Warn, "Waiting for the store")
            }
            (None, Some("topic approval")) => (Tone::Warn, "Waiting for approval"),
            (None, _) => (Tone::Busy, "Waiting"),
            (Some("refused"), _) => (Tone::Bad, "Refused"),
            (Some("given_up"), _) => (Tone::Bad, "Given up"),
            (Some("duplicate"), _) => (Tone::Idle, "Duplicate"),
            (Some("discarded"), _) => (Tone::Idle, "Discarded"),
            (Some("no_change"), _) => (Tone::Idle, "No change"),
            (Some(_), _) if text(node, "store_type") == Some(CLAIM_STORE_TYPE) => {
                (Tone::Idle, "Device")
            }
            (Some(_), _) => (Tone::Idle, "Notification"),
        };
        TimelineEntry {
            at: Moment::at(order),
            badge: Badge::new(tone, label),
            sentence: Sentence::new(&capital(&node.summary)),
            id: text(node, "message_id").map(Code::short),
            closes: time(node, "window_ends_at").map(Moment::until),
            is_marked: self.is(text(node, "message_id")),
            changes: Vec::new(),
            causes: Vec::new(),
            events: Vec::new(),
            order,
        }
    }

    fn claim(&self, node: &Node) -> TimelineEntry {
        let order = time(node, "occurred_at").or_else(|| time(node, "created_at"));
        let badge = Badge::new(Tone::Idle, "Device");
        TimelineEntry {
            is_marked: self.is(text(node, "device_id")),
            ..apart(node, badge, order)
        }
    }

    fn duty(&self, node: &Node) -> TimelineEntry {
        let order = time(node, "done_at").or_else(|| time(node, "created_at"));
        TimelineEntry {
            is_marked: self.is(text(node, "id")),
            ..apart(node, Badge::new(Tone::Idle, "Duty"), order)
        }
    }

    fn event(&self, node: &Node) -> Event {
        let id = text(node, "id").unwrap_or_default();
        let is_note = |one: &&Node| {
            matches!(one.what, "transfer") || one.what == "changes" && changes(one).is_empty()
        };
        Event {
            name: text(node, "type").unwrap_or_default().to_owned(),
            path: self.visit.to(&format!("/ui/events/{id}")),
            id: Code::short(id),
            sentence: Sentence::new(&capital(&node.summary)),
            notes: node
                .then
                .iter()
                .filter(is_note)
                .map(|one| Sentence::new(&capital(&one.summary)))
                .collect(),
            sendings: node
                .then
                .iter()
                .filter_map(|one| self.sending(one))
                .collect(),
            is_marked: self.is(Some(id)),
        }
    }

    fn sending(&self, node: &Node) -> Option<Sending> {
        let badge = match node.what {
            "delivery" => {
                let status = text(node, "status").and_then(|status| status.parse().ok());
                status.map_or_else(|| Badge::new(Tone::Idle, "unknown"), delivery_status)
            }
            "not_sent" => Badge::new(Tone::Idle, "not sent"),
            "nobody" => Badge::new(Tone::Warn, "nobody"),
            _ => return None,
        };
        let id = text(node, "id");
        let page = |screen: &str, id: &str| self.visit.to(&format!("/ui/{screen}/{id}"));
        Some(Sending {
            to: text(node, "destination").unwrap_or_default().to_owned(),
            to_path: text(node, "destination_id").map(|id| page("destinations", id)),
            path: id.map(|id| page("deliveries", id)),
            badge,
            is_done: matches!(text(node, "status"), Some("delivered" | "superseded")),
            sentence: Sentence::new(&capital(&node.summary)),
            id: id.map(Code::short),
            attempts: node.then.iter().filter_map(attempt).collect(),
            is_marked: self.is(id),
        })
    }
}

/// Returns the entry of a node that belongs to no revision.
fn apart(node: &Node, badge: Badge, order: Option<Timestamp>) -> TimelineEntry {
    let order = order.unwrap_or(Timestamp::from_micros(0));
    TimelineEntry {
        at: Moment::at(order),
        badge,
        sentence: Sentence::new(&capital(&node.summary)),
        id: None,
        closes: None,
        is_marked: false,
        changes: Vec::new(),
        causes: Vec::new(),
        events: Vec::new(),
        order,
    }
}

fn attempt(node: &Node) -> Option<Attempt> {
    let sentence = Sentence::new(&capital(&node.summary));
    match node.what {
        "attempts" => Some(Attempt {
            sentence,
            badge: None,
            answer: None,
        }),
        "attempt" => {
            let badge = match text(node, "class") {
                Some("unfinished") => Badge::new(Tone::Busy, "under way"),
                _ if node.facts.get("error").is_none_or(Value::is_null) => {
                    Badge::new(Tone::Good, "accepted")
                }
                _ => Badge::new(Tone::Bad, "failed"),
            };
            Some(Attempt {
                sentence,
                badge: Some(badge),
                answer: answer(node),
            })
        }
        _ => None,
    }
}

/// Returns the response to an attempt, unchanged: its headers and the beginning of its body.
fn answer(node: &Node) -> Option<String> {
    let headers = node
        .facts
        .get("headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let pairs = headers.filter_map(|pair| {
        Some(format!(
            "{}: {}",
            pair.get(0)?.as_str()?,
            pair.get(1)?.as_str()?
        ))
    });
    let mut lines: Vec<String> = pairs.collect();
    if let Some(body) = text(node, "response").filter(|body| !body.is_empty()) {
        lines.push(String::new());
        lines.push(body.to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn changes(node: &Node) -> Vec<Changed> {
    let all = node
        .facts
        .get("changes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    all.map(|one| {
        Changed::of(
            one["field"].as_str().unwrap_or_default(),
            &one["before"],
            &one["after"],
        )
    })
    .collect()
}

fn below<'n>(node: &'n Node, what: &'static str) -> impl Iterator<Item = &'n Node> {
    node.then.iter().filter(move |one| one.what == what)
}

fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    node.facts.get(name).and_then(Value::as_str)
}

fn number(node: &Node, name: &str) -> Option<i64> {
    node.facts.get(name).and_then(Value::as_i64)
}

fn time(node: &Node, name: &str) -> Option<Timestamp> {
    text(node, name)?.parse().ok()
}
