//! The views of the search.

use super::Suggestion;
use crate::frame::Frame;
use crate::parts::{Badge, Code, Moment, Tone};
use crate::text::{escaped, purchase_state};
use crate::visit::Visit;
use api::resources::search::{BEGINNING, is_beginning};
use askama::Template;
use serde_json::Value;
use std::collections::BTreeMap;
use storage::{
    FoundKind, Platform, PlatformProgress, PurchaseView, Role, SearchHit, Topic, TopicState,
};

/// A platform that could have received what was not found.
pub struct Source {
    pub app: String,
    pub platform: Platform,
    pub progress: PlatformProgress,
}

/// The platforms that could have received what was not found.
#[derive(Default)]
pub struct Sources {
    pub all: Vec<Source>,
    pub has_more: bool,
}

/// A platform, prepared for a template.
pub struct PlatformView {
    path: String,
    topics_path: String,
    app: String,
    name: String,
    package: String,
    environment: &'static str,
    last: Option<Moment>,
    state: Badge,
}

impl PlatformView {
    fn new(
        visit: &Visit,
        Source {
            app,
            platform,
            progress,
        }: Source,
    ) -> Self {
        let path = format!("/ui/connect/platforms/{}", platform.id);
        let accepted = progress.arrivals.iter().find(|one| one.reason.is_empty());
        Self {
            topics_path: visit.to(&format!("{path}/topics")),
            path: visit.to(&path),
            app,
            name: platform.settings.name,
            package: platform.settings.package_name,
            environment: platform.settings.environment.as_str(),
            last: accepted.map(|one| Moment::ago(one.last_at)),
            state: trust(&progress.topics),
        }
    }
}

/// Returns a badge that says whether a topic of a platform is approved.
fn trust(topics: &[Topic]) -> Badge {
    let is = |states: &[TopicState]| topics.iter().any(|topic| states.contains(&topic.state));
    if is(&[TopicState::Configured, TopicState::Confirmed]) {
        Badge::new(Tone::Good, "approved")
    } else if is(&[TopicState::Pending]) {
        Badge::new(Tone::Warn, "topic waiting for approval")
    } else {
        Badge::new(Tone::Idle, "no topic yet")
    }
}

/// Search results, with the purchases among them by their ids.
pub struct Hits<'a> {
    pub found: &'a [SearchHit],
    pub purchases: &'a BTreeMap<String, PurchaseView>,
}

pub struct Hit {
    kind: &'static str,
    path: Option<String>,
    id: Code,
    /// Customer of the purchase.
    customer: Option<Code>,
    label: String,
    state: Option<Badge>,
    by: String,
    at: Moment,
}

#[derive(Template)]
#[template(path = "search/page.html")]
pub struct SearchPage<'a> {
    frame: &'a Frame,
    q: String,
    meant: Option<Suggestion>,
    hits: Vec<Hit>,
    is_beginning: bool,
    sources: Vec<PlatformView>,
    has_more: bool,
    connect_path: String,
    /// Whether the visitor may connect platforms, approve topics and import.
    is_operator: bool,
}

impl<'a> SearchPage<'a> {
    /// Returns the page with the results.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        q: String,
        hits: Hits<'_>,
        sources: Sources,
    ) -> Self {
        Self {
            frame,
            q,
            meant: None,
            hits: hits
                .found
                .iter()
                .map(|one| hit(one, hits.purchases.get(&one.id)))
                .collect(),
            is_beginning: is_beginning(hits.found),
            is_operator: frame.may(Role::Operator),
            has_more: sources.has_more,
            sources: sources
                .all
                .into_iter()
                .map(|one| PlatformView::new(visit, one))
                .collect(),
            connect_path: visit.to("/ui/connect"),
        }
    }

    /// Adds a suggestion of what was probably meant.
    pub fn suggesting(self, meant: Option<Suggestion>) -> Self {
        Self { meant, ..self }
    }
}

fn hit(found: &SearchHit, purchase: Option<&PurchaseView>) -> Hit {
    let is_purchase = found.kind == FoundKind::Purchase;
    // Users know a customer by the app's id.
    let own = Some(found.label.as_str())
        .filter(|label| found.kind == FoundKind::Customer && !label.is_empty());
    let by = match found.found_by.as_str() {
        "id" | BEGINNING => String::new(),
        "receipt" => "by the store's id".to_owned(),
        other => format!("by {other}"),
    };
    Hit {
        kind: name(found.kind),
        path: path(found),
        id: Code::short(
            purchase
                .map(|view| view.receipt_id.as_str())
                .or(own)
                .unwrap_or(&found.id),
        ),
        customer: purchase.and_then(customer).map(Code::short),
        label: if is_purchase || own.is_some() {
            String::new()
        } else {
            found.label.clone()
        },
        state: is_purchase.then(|| purchase_state(&found.label)),
        by,
        at: Moment::ago(found.at),
    }
}

/// Returns the customer of a purchase: the app's id or, without one, the store's.
fn customer(view: &PurchaseView) -> Option<&str> {
    let own = view
        .data
        .pointer("/data/last_seen_external_id")
        .and_then(Value::as_str);
    own.or(view.app_user_id.as_deref())
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
        FoundKind::Device => "Device",
    }
}

/// Returns the page of a result: its own, or that of its purchase with a mark at the result.
pub fn path(found: &SearchHit) -> Option<String> {
    let purchase = found.collapse_key.map(|key| format!("/ui/purchases/{key}"));
    match found.kind {
        FoundKind::Purchase | FoundKind::Waiting => purchase,
        FoundKind::Message | FoundKind::Event | FoundKind::Delivery => {
            purchase.map(|path| format!("{path}?mark={}", escaped(&found.id)))
        }
        // A device has no page; its customer may have one.
        FoundKind::Device => None,
        FoundKind::App => Some(format!("/ui/connect/apps/{}", found.id)),
        FoundKind::Platform => Some(format!("/ui/connect/platforms/{}", found.id)),
        FoundKind::Customer => found
            .app_id
            .map(|app| format!("/ui/customers/{app}/{}", found.id)),
        FoundKind::DeviceEvent => Some(format!("/ui/events/{}", found.id)),
        FoundKind::Destination => Some(format!("/ui/destinations/{}", found.id)),
    }
}
