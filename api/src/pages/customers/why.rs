//! Why a destination received an event about a customer, or did not, in the sentences of explanations.

use super::Portrait;
use crate::edge::Edge;
use crate::error::Error;
use crate::resources::explain::node::Node;
use crate::resources::explain::story;
use serde_json::Value;
use storage::{Destination, EventFilter, Page};

/// Maximum number of events or purchases that are explained.
const EXPLAINED: i64 = 5;

/// The sentences about an event or a purchase.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Address of the purchase's page, at the event to mark.
    pub path: String,
    pub title: String,
    pub sentences: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answers {
    pub destination: String,
    pub event_type: String,
    /// Whether such an event was recorded; else the answers are about the purchases.
    pub is_recorded: bool,
    pub items: Vec<Answer>,
}

/// The latest events of a type about a customer with what a destination got of them; without any, what became of each
/// purchase.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn answers(
    edge: &Edge,
    portrait: &Portrait,
    destination: &Destination,
    event_type: &str,
) -> Result<Answers, Error> {
    let wanted = EventFilter {
        app_id: Some(portrait.app.id),
        user_id: Some(portrait.user()),
        types: vec![event_type.to_owned()],
        ..EventFilter::default()
    };
    let found = edge
        .store
        .events(
            wanted,
            Page {
                cursor: None,
                limit: EXPLAINED,
            },
        )
        .await?
        .items;
    let mut items = Vec::new();
    for event in &found {
        let tree = story::event(&edge.store.explain_event(event.id).await?);
        let path = format!("/ui/purchases/{}?mark={}", event.collapse_key, event.id);
        let title = format!("`{}` at {}", event.event_type, event.created_at);
        items.push(Answer {
            path,
            title,
            sentences: about(&tree, destination),
        });
    }
    if items.is_empty() {
        let limit = usize::try_from(EXPLAINED).unwrap_or_default();
        for purchase in portrait.read.purchases.items.iter().take(limit) {
            let tree = story::purchase(
                purchase.collapse_key,
                &edge.store.explain_purchase(purchase.collapse_key).await?,
            );
            let path = format!("/ui/purchases/{}", purchase.collapse_key);
            items.push(Answer {
                path,
                title: "its purchase".to_owned(),
                sentences: without(&tree),
            });
        }
    }
    Ok(Answers {
        destination: destination.name.clone(),
        event_type: event_type.to_owned(),
        is_recorded: !found.is_empty(),
        items,
    })
}

/// The sentences about one destination in the explanation of an event.
fn about(tree: &Node, destination: &Destination) -> Vec<String> {
    let id = Value::from(destination.id.to_string());
    let of = tree
        .then
        .iter()
        .filter(|node| node.facts.get("destination_id") == Some(&id));
    let mut sentences = Vec::new();
    for node in of {
        sentences.push(node.summary.clone());
        sentences.extend(node.then.last().map(|attempt| attempt.summary.clone()));
    }
    if sentences.is_empty() {
        sentences.extend(
            tree.then
                .iter()
                .filter(|node| node.what == "nobody")
                .map(|node| node.summary.clone()),
        );
    }
    if sentences.is_empty() {
        sentences.push("the destination did not exist when the event was recorded".to_owned());
    }
    sentences
}

/// The sentences about a purchase of which no such event was recorded: how it stands, and its latest notification.
fn without(tree: &Node) -> Vec<String> {
    let notifications = tree.then.iter().find(|node| node.what == "notifications");
    let newest = notifications
        .and_then(|node| node.then.last())
        .map(|node| node.summary.clone());
    let nothing = tree
        .then
        .iter()
        .filter(|node| node.what == "nothing")
        .map(|node| node.summary.clone());
    std::iter::once(tree.summary.clone())
        .chain(newest)
        .chain(nothing)
        .collect()
}
