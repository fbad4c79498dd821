//! What the search shows.

use crate::pages::frame::Frame;
use crate::pages::parts::{Badge, Code, Moment, Tone};
use crate::pages::text::{escaped, purchase_state};
use askama::Template;
use domain::Timestamp;
use storage::{Found, FoundKind, Platform};

/// A platform that could have received what was not found.
pub struct Source {
    /// The name of its app.
    pub app: String,
    /// The platform.
    pub platform: Platform,
    /// When its store notified it last.
    pub last_accepted_at: Option<Timestamp>,
    /// Whether a topic waits for approval.
    pub has_pending_topic: bool,
    /// Whether a topic may send.
    pub has_topic: bool,
}

/// A platform as it is shown.
pub struct Shown {
    app: String,
    name: String,
    package: String,
    environment: &'static str,
    last: Option<Moment>,
    state: Badge,
}

impl From<Source> for Shown {
    fn from(source: Source) -> Self {
        let state = if source.has_topic {
            Badge::new(Tone::Good, "may send")
        } else if source.has_pending_topic {
            Badge::new(Tone::Warn, "topic waits for approval")
        } else {
            Badge::new(Tone::Idle, "no topic yet")
        };
        Self {
            app: source.app,
            name: source.platform.name,
            package: source.platform.package_name,
            environment: source.platform.environment.as_str(),
            last: source.last_accepted_at.map(Moment::ago),
            state,
        }
    }
}

/// A thing that was found.
pub struct Hit {
    kind: &'static str,
    path: Option<String>,
    id: Code,
    label: String,
    state: Option<Badge>,
    by: String,
    at: Moment,
}

/// The page.
#[derive(Template)]
#[template(path = "search/page.html")]
pub struct SearchPage<'a> {
    frame: &'a Frame,
    q: String,
    hits: Vec<Hit>,
    sources: Vec<Shown>,
}

impl<'a> SearchPage<'a> {
    /// The page over what was found.
    #[must_use]
    pub fn new(frame: &'a Frame, q: String, (found, sources): (&[Found], Vec<Source>)) -> Self {
        let hits = found.iter().map(hit).collect();
        Self { frame, q, hits, sources: sources.into_iter().map(Shown::from).collect() }
    }
}

fn hit(found: &Found) -> Hit {
    let is_purchase = found.kind == FoundKind::Purchase;
    let by = if found.found_by == "id" { String::new() } else { format!("by {}", found.found_by) };
    Hit {
        kind: name(found.kind),
        path: path(found),
        id: Code::short(&found.id),
        label: if is_purchase { String::new() } else { found.label.clone() },
        state: is_purchase.then(|| purchase_state(&found.label)),
        by,
        at: Moment::ago(found.at),
    }
}

const fn name(kind: FoundKind) -> &'static str {
    match kind {
        FoundKind::Purchase => "Purchase",
        FoundKind::Waiting => "Purchase, not settled yet",
        FoundKind::Message => "Message",
        FoundKind::Event => "Event",
        FoundKind::DeviceEvent => "Event of a device",
        FoundKind::Delivery => "Delivery",
        FoundKind::Destination => "Destination",
        FoundKind::Platform => "Platform",
        FoundKind::App => "App",
        FoundKind::Customer => "Customer",
    }
}

/// The page of what was found: its own, or that of its purchase with a mark at the thing itself.
pub fn path(found: &Found) -> Option<String> {
    let purchase = found.collapse_key.map(|key| format!("/ui/purchases/{key}"));
    match found.kind {
        FoundKind::Purchase | FoundKind::Waiting => purchase,
        FoundKind::Message | FoundKind::Event | FoundKind::Delivery => {
            purchase.map(|path| format!("{path}?mark={}", escaped(&found.id)))
        }
        FoundKind::App => Some(format!("/ui/connect/apps/{}", found.id)),
        FoundKind::Platform => Some(format!("/ui/connect/platforms/{}", found.id)),
        FoundKind::Customer => found.app_id.map(|app| format!("/ui/customers/{app}/{}", found.id)),
        FoundKind::DeviceEvent => Some(format!("/ui/events/{}", found.id)),
        FoundKind::Destination => Some(format!("/ui/destinations/{}", found.id)),
    }
}
