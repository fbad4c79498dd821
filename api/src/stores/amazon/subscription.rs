//! The beginning and end of a topic's subscription. A new subscription is confirmed immediately or awaits approval; an
//! ended one raises an alarm. Neither an `UnsubscribeURL` nor the URL in an UnsubscribeConfirmation, which would
//! subscribe again, is ever requested.

use super::envelope::Kind;
use super::refusal::Refusal;
use super::topic::{self, Arn, TopicStatus};
use super::{Amazon, Received, storage_failed};
use crate::stores::inbox::raise;
use domain::{Timestamp, TopicId};
use secrecy::SecretString;
use std::sync::Arc;
use storage::{PendingTopic, Released, Topic, TopicRequest};

/// How long a confirmation token is valid according to the SNS API reference: two days, in milliseconds.
const TOKEN_VALID_MS: i64 = 2 * 24 * 3_600_000;

impl Amazon {
    /// Requests the subscribe URL, then pins the topic. After a crash in between, SNS repeats the message and both
    /// steps run again.
    pub(super) async fn confirm(&self, received: Received<'_>) -> Result<&'static str, Refusal> {
        let Kind::SubscriptionConfirmation(link) = &received.envelope.kind else {
            return Ok("ignored");
        };
        let platform = received.recipient.platform.id;
        if let Err(error) = self
            .visit(&SecretString::from(link.subscribe_url.as_ref()))
            .await
        {
            tracing::warn!(%error, platform.id = %platform, "a subscription could not be confirmed");
            return Err(Refusal::TryAgain("subscription could not be confirmed"));
        }
        let pinned = received
            .intake
            .store
            .pin_topic(platform, received.arn.text)
            .await;
        let (_, released) = pinned.map_err(|error| match error {
            // An operator rejected the topic while the URL was being requested.
            storage::Error::Conflict { .. } => Refusal::TopicNotAllowed("topic was rejected"),
            other => storage_failed(&other),
        })?;
        notify(received, released);
        tracing::info!(platform.id = %platform, topic.arn = received.arn.text, "a subscription was confirmed");
        Ok("subscription confirmed")
    }

    /// Stores the topic as pending until an operator decides. Such requests need no authentication and can come from
    /// any number of topics, so a single alarm counts them all and names none.
    pub(super) async fn request_approval(
        &self,
        received: Received<'_>,
        now: Timestamp,
    ) -> Result<&'static str, Refusal> {
        let Kind::SubscriptionConfirmation(link) = &received.envelope.kind else {
            return Ok("ignored");
        };
        let (store, platform) = (received.intake.store, received.recipient.platform.id);
        let (arn, accounts) = (
            received.arn.text.to_owned(),
            self.settings.auto_confirm_accounts.clone(),
        );
        let gives_way =
            move |topics: &[Topic]| topic::gives_way(topics, &Arn::read(&arn).ok()?, &accounts);
        let url = SecretString::from(link.subscribe_url.as_ref());
        let until = now.plus_millis(TOKEN_VALID_MS);
        let request =
            TopicRequest::new(platform, received.arn.text, url, until).over(Arc::new(gives_way));
        match store
            .add_pending_topic(request)
            .await
            .map_err(|error| storage_failed(&error))?
        {
            PendingTopic::New => {
                tracing::info!(platform.id = %platform, topic.arn = received.arn.text, "a topic requests to send");
                let detail = format!(
                    "a topic waits for approval: `settle platform topics {platform}` lists it"
                );
                raise(store, platform, "topic_pending", &detail).await;
                Ok("topic waits for approval")
            }
            PendingTopic::Renewed => Ok("topic waits for approval"),
            PendingTopic::Full => {
                tracing::info!(platform.id = %platform, topic.arn = received.arn.text, "a sixth topic requests to send");
                let detail = "another topic requests to send while five wait for approval";
                raise(store, platform, "too_many_pending_topics", detail).await;
                Err(Refusal::TryAgain("too many pending topics"))
            }
        }
    }
}

/// Marks the subscription of a pinned topic as ended, and raises an alarm. For other topics nothing is lost, so nothing
/// is done.
pub(super) async fn end(received: Received<'_>) -> Result<&'static str, Refusal> {
    let platform = received.recipient.platform.id;
    if received.topic_status != TopicStatus::Pinned {
        return Ok("unsubscription noted");
    }
    let marked = received
        .intake
        .store
        .mark_unsubscribed(platform, received.arn.text)
        .await;
    marked.map_err(|error| storage_failed(&error))?;
    let detail = format!(
        "the subscription of topic {} was ended; confirm it again in Amazon's console",
        received.arn.text
    );
    raise(
        received.intake.store,
        platform,
        "topic_unsubscribed",
        &detail,
    )
    .await;
    Ok("unsubscription noted")
}

/// Applies a decision that was made about the topic before the rows were inserted. Released rows are passed to the
/// dispatcher.
pub(super) async fn catch_up(received: Received<'_>, topic: TopicId) -> Result<(), Refusal> {
    let decided = received
        .intake
        .store
        .end_waiting(topic)
        .await
        .map_err(|error| storage_failed(&error))?;
    notify(received, decided.released);
    Ok(())
}

fn notify(received: Received<'_>, released: Released) {
    let platform = &received.recipient.platform;
    for (key, seq) in released {
        received.intake.dispatch.notify(
            key,
            seq,
            platform.settings.window_ms,
            platform.settings.max_wait_ms,
        );
    }
}
