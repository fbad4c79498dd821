//! The beginning and the end of a topic's subscription: who is followed, who is asked about, and what
//! happens when somebody ends it. A URL to unsubscribe is never visited, and neither is the one in an
//! UnsubscribeConfirmation: it would subscribe anew.

use super::envelope::Kind;
use super::refusal::Refusal;
use super::topic::Standing;
use super::{Amazon, Received, raise, storage_failed};
use domain::{Timestamp, TopicId};
use secrecy::SecretString;
use storage::{Kept, TopicState};

/// The life of a confirmation token, by the API reference of SNS.
const TOKEN_LIFE_MS: i64 = 2 * 24 * 3_600_000;

impl Amazon {
    /// Visits the subscribe URL and pins the topic. The order makes a crash harmless: SNS comes again.
    pub(super) async fn confirm(&self, received: Received<'_>) -> Result<&'static str, Refusal> {
        let Kind::SubscriptionConfirmation(link) = &received.envelope.kind else { return Ok("ignored") };
        let platform = received.recipient.platform.id;
        if let Err(error) = self.visit(&SecretString::from(link.subscribe_url.as_ref())).await {
            tracing::warn!(%error, platform.id = %platform, "a subscription could not be confirmed");
            return Err(Refusal::Unavailable("subscription could not be confirmed"));
        }
        match received.standing {
            Standing::Pending(topic) => release(received, topic).await?,
            Standing::Pinned | Standing::Rejected | Standing::Unknown => {
                received.desk.store.pin_topic(platform, received.arn.text).await.map_err(storage_failed)?;
            }
        }
        tracing::info!(platform.id = %platform, topic.arn = received.arn.text, "a subscription was confirmed");
        Ok("subscription confirmed")
    }
}

/// Keeps the question for an admin.
pub(super) async fn ask(received: Received<'_>, now: Timestamp) -> Result<&'static str, Refusal> {
    let Kind::SubscriptionConfirmation(link) = &received.envelope.kind else { return Ok("ignored") };
    let platform = received.recipient.platform.id;
    let url = SecretString::from(link.subscribe_url.as_ref());
    let until = now.plus_millis(TOKEN_LIFE_MS);
    let kept =
        received.desk.store.keep_pending(platform, received.arn.text, url, until).await.map_err(storage_failed)?;
    match kept {
        Kept::New => {
            raise(
                received.desk.store,
                platform,
                "topic_pending",
                &format!("topic {} waits for approval", received.arn.text),
            )
            .await;
            Ok("topic waits for approval")
        }
        Kept::Renewed => Ok("topic waits for approval"),
        Kept::Full => {
            let detail = format!("topic {} asked while five wait for approval", received.arn.text);
            raise(received.desk.store, platform, "too_many_pending_topics", &detail).await;
            Err(Refusal::Topic("too many pending topics"))
        }
    }
}

/// Notes that a subscription was ended.
pub(super) async fn end(received: Received<'_>) -> Result<&'static str, Refusal> {
    let platform = received.recipient.platform.id;
    if received.standing == Standing::Pinned {
        received.desk.store.mark_unsubscribed(platform, received.arn.text).await.map_err(storage_failed)?;
    }
    let detail = format!(
        "the subscription of topic {} was ended; have it confirmed anew in Amazon's console",
        received.arn.text
    );
    raise(received.desk.store, platform, "topic_unsubscribed", &detail).await;
    Ok("unsubscription noted")
}

/// Repeats a decision about the topic that may have missed rows inserted meanwhile.
pub(super) async fn catch_up(received: Received<'_>, topic: TopicId) -> Result<(), Refusal> {
    match received.desk.store.topic(topic).await.map_err(storage_failed)?.state {
        TopicState::Configured | TopicState::Confirmed => release(received, topic).await,
        TopicState::Rejected => received.desk.store.reject_topic(topic).await.map(|_| ()).map_err(storage_failed),
        // The sweep ends what is left of these.
        TopicState::Pending | TopicState::Expired | TopicState::Unsubscribed => Ok(()),
    }
}

async fn release(received: Received<'_>, topic: TopicId) -> Result<(), Refusal> {
    let platform = &received.recipient.platform;
    for (key, seq) in received.desk.store.approve_topic(topic).await.map_err(storage_failed)? {
        received.desk.dispatch.notify(key, seq, platform.window_ms, platform.max_wait_ms);
    }
    Ok(())
}
