//! `/v1/platforms/{platform_id}/topics`: a platform's topics, and the operator's decision on each.

use super::signals::Nothing;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Ids, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::{PlatformId, TopicId};
use schemars::JsonSchema;
use serde::Serialize;
use storage::{Paged, Platform, Topic, TopicState};

/// Most trusted topic of a platform.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TopicSummary {
    /// Whether the topic may send or awaits approval.
    state: Trust,
    /// ARN of the topic at the store.
    arn: Option<String>,
}

/// Trust in a platform's most trusted topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The platform has no topic.
    None,
    /// The topic awaits approval.
    Pending,
    /// The topic may send.
    Confirmed,
}

/// `GET /v1/platforms/{platform_id}/topics`
pub async fn list(
    State(edge): State<Shared>,
    Stored(platform): Stored<Platform>,
) -> Result<Json<Paged<Topic>>, Error> {
    Ok(Json(Paged {
        items: edge.store.topics(platform.id).await?,
        next_cursor: None,
    }))
}

/// `POST /v1/platforms/{platform_id}/topics/{topic_id}/approve`: confirms the subscription at the store, then releases
/// the notifications that were waiting for approval. 409 with the topic's state if it is not pending.
pub async fn approve(
    edge: Acting,
    Ids(platform, id): Ids<PlatformId, TopicId>,
    _: Body<Nothing>,
) -> Result<Json<Topic>, Error> {
    let topic = of_platform(&edge, platform, id).await?;
    if topic.state != TopicState::Pending {
        return Err(not_pending(topic.state));
    }
    let Some(url) = edge.store.subscribe_url(id).await? else {
        return Err(Error::Conflict(
            "the topic's confirmation URL is no longer stored; ask the store to send it again"
                .to_owned(),
        ));
    };
    let store = edge.store.platform(platform).await?.store;
    let confirmed = match edge.topics(&store) {
        Some(topics) => topics.confirm(&url).await,
        None => Err("this store has no topics".to_owned()),
    };
    confirmed.map_err(|error| {
        Error::Upstream(format!(
            "the store did not confirm the subscription: {error}. The topic stays pending; make sure that this \
             service can reach the store, then approve again"
        ))
    })?;
    let released = edge
        .store
        .approve_topic(id)
        .await
        .map_err(already_decided)?;
    if let Some(first) = released.iter().map(|(_, seq)| *seq).min() {
        edge.dispatch.read_again_from(first);
    }
    Ok(Json(edge.store.topic(id).await?))
}

/// `POST /v1/platforms/{platform_id}/topics/{topic_id}/reject`: rejects the topic and its waiting notifications. A
/// confirmed topic can be rejected too.
pub async fn reject(
    edge: Acting,
    Ids(platform, id): Ids<PlatformId, TopicId>,
    _: Body<Nothing>,
) -> Result<Json<Topic>, Error> {
    let topic = of_platform(&edge, platform, id).await?;
    edge.store
        .reject_topic(id, topic.state)
        .await
        .map_err(already_decided)?;
    Ok(Json(edge.store.topic(id).await?))
}

/// Summarizes a platform's topics, which are sorted by when they were added.
pub fn summary(topics: &[Topic]) -> TopicSummary {
    let trust = |topic: &Topic| match topic.state {
        TopicState::Configured | TopicState::Confirmed => Trust::Confirmed,
        TopicState::Pending => Trust::Pending,
        TopicState::Rejected | TopicState::Expired | TopicState::Unsubscribed => Trust::None,
    };
    for state in [Trust::Confirmed, Trust::Pending] {
        if let Some(topic) = topics.iter().rev().find(|topic| trust(topic) == state) {
            return TopicSummary {
                state,
                arn: Some(topic.arn.clone()),
            };
        }
    }
    TopicSummary {
        state: Trust::None,
        arn: None,
    }
}

async fn of_platform(edge: &Edge, platform: PlatformId, id: TopicId) -> Result<Topic, Error> {
    let topic = edge.store.topic(id).await?;
    if topic.platform_id == platform {
        Ok(topic)
    } else {
        Err(Error::missing("topic", id))
    }
}

fn not_pending(state: TopicState) -> Error {
    let why = match state {
        TopicState::Configured => "the platform's settings name it, so it needs no approval",
        TopicState::Pending | TopicState::Confirmed => "it needs no approval",
        TopicState::Expired => {
            "it expired without a decision; ask the store to send its confirmation again"
        }
        TopicState::Rejected => "set it as the platform's `topic_arn` to trust it after all",
        TopicState::Unsubscribed => "ask the store to send its confirmation again",
    };
    Error::Conflict(format!("the topic is {} now: {why}", state.as_str()))
}

/// Turns the conflict with a concurrent decision on the topic into a response.
fn already_decided(error: storage::Error) -> Error {
    match error {
        storage::Error::Conflict { detail, .. } => {
            Error::Conflict(format!("the topic is no longer pending: {detail}"))
        }
        other => other.into(),
    }
}
