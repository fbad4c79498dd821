//! `/v1/platforms/{platform_id}/topics`: who asked to send, and the admin's word on it.

use super::{Body, Id, Ids};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::{PlatformId, TopicId};
use serde_json::{Value, json};
use storage::{Topic, TopicState};

/// `GET /v1/platforms/{platform_id}/topics`
pub async fn list(State(edge): State<Shared>, Id(platform): Id<PlatformId>) -> Result<Json<Value>, Error> {
    edge.store.platform(platform).await?;
    let topics = edge.store.topics(platform).await?;
    Ok(Json(json!({ "items": topics, "next_cursor": null })))
}

/// `POST /v1/platforms/{platform_id}/topics/{topic_id}/approve`: confirms the subscription at the store, then
/// releases what waited. Who was overtaken by another decision is told what the topic is now.
pub async fn approve(
    State(edge): State<Shared>,
    Ids(platform, id): Ids<PlatformId, TopicId>,
    Body(fields): Body,
) -> Result<Json<Topic>, Error> {
    fields.finish()?;
    let topic = of_platform(&edge, platform, id).await?;
    if topic.state != TopicState::Pending {
        return Err(not_pending(topic.state));
    }
    let Some(url) = edge.store.subscribe_url(id).await? else {
        return Err(Error::Conflict("the topic's confirmation URL is gone; ask the store to send it again".to_owned()));
    };
    let store = edge.store.platform(platform).await?.store;
    edge.confirm(&store, &url).await.map_err(|error| {
        Error::Upstream(format!(
            "the store did not confirm the subscription: {error}. The topic stays pending; see that this service can \
             reach the store, then approve again"
        ))
    })?;
    let released = edge.store.approve_topic(id).await.map_err(overtaken)?;
    if let Some(first) = released.iter().map(|(_, seq)| *seq).min() {
        edge.dispatch.read_again_from(first);
    }
    Ok(Json(edge.store.topic(id).await?))
}

/// `POST /v1/platforms/{platform_id}/topics/{topic_id}/reject`: what waited is refused. A topic that may send
/// can be rejected as well.
pub async fn reject(
    State(edge): State<Shared>,
    Ids(platform, id): Ids<PlatformId, TopicId>,
    Body(fields): Body,
) -> Result<Json<Topic>, Error> {
    fields.finish()?;
    let topic = of_platform(&edge, platform, id).await?;
    edge.store.reject_topic(id, topic.state).await.map_err(overtaken)?;
    Ok(Json(edge.store.topic(id).await?))
}

/// How a platform's topics stand, in one word; the most trusted one counts.
#[must_use]
pub fn summary(topics: &[Topic]) -> Value {
    let word = |state| match state {
        TopicState::Configured | TopicState::Confirmed => Some("confirmed"),
        TopicState::Pending => Some("pending"),
        TopicState::Rejected | TopicState::Expired | TopicState::Unsubscribed => None,
    };
    for wanted in ["confirmed", "pending"] {
        if let Some(topic) = topics.iter().rev().find(|topic| word(topic.state) == Some(wanted)) {
            return json!({ "state": wanted, "arn": topic.arn });
        }
    }
    json!({ "state": "none", "arn": null })
}

async fn of_platform(edge: &Edge, platform: PlatformId, id: TopicId) -> Result<Topic, Error> {
    let topic = edge.store.topic(id).await?;
    if topic.platform_id == platform { Ok(topic) } else { Err(Error::missing("topic", id)) }
}

fn not_pending(state: TopicState) -> Error {
    let why = match state {
        TopicState::Configured => "the platform names it itself, so it needs no approval",
        TopicState::Pending | TopicState::Confirmed => "it needs no approval",
        TopicState::Expired => "nobody decided in time; ask the store to send its confirmation again",
        TopicState::Rejected => "name it as the platform's `topic_arn` to trust it after all",
        TopicState::Unsubscribed => "ask the store to send its confirmation again",
    };
    Error::Conflict(format!("the topic is {} now: {why}", state.as_str()))
}

/// The topic was decided about since it was looked at.
fn overtaken(error: storage::Error) -> Error {
    match error {
        storage::Error::Conflict { detail, .. } => Error::Conflict(format!("the topic was decided already: {detail}")),
        other => other.into(),
    }
}
