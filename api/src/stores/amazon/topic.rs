//! Decides which topics may send. Any AWS account can create a topic, and SNS signs its messages too, so a valid
//! signature alone proves nothing. The topic must be one that the platform follows, which is checked before anything is
//! fetched.

use super::envelope::{Envelope, Kind};
use super::refusal::Refusal;
use domain::TopicId;
use storage::{Topic, TopicState};
use url::Url;

/// Parts of a topic's ARN, `arn:{partition}:sns:{region}:{account}:{name}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    pub text: &'a str,
    /// Region of the topic, such as `us-east-1`.
    pub region: &'a str,
    /// Id of the AWS account that owns the topic: twelve digits.
    pub account: &'a str,
    in_china: bool,
}

impl<'a> Arn<'a> {
    /// Parses the ARN of a topic outside China.
    ///
    /// # Errors
    /// The text is not a topic's ARN, or the topic is in China.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let arn = Self::read(text)?;
        if arn.in_china {
            return Err(Refusal::TopicNotAllowed(
                "topics in China are not allowed by the settings",
            ));
        }
        Ok(arn)
    }

    /// Parses the ARN of a topic in any region. ARNs of FIFO topics are refused, because FIFO topics cannot send to
    /// HTTP endpoints.
    ///
    /// # Errors
    /// The text is not a topic's ARN.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        Self::split(text).ok_or(Refusal::Invalid("TopicArn is not the name of an SNS topic"))
    }

    fn split(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
        let (partition, service) = (parts.next()?, parts.next()?);
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let right = service == "sns" && is_region(region) && partition == partition_of(region)?;
        let named = account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && is_name(name);
        (right && named).then_some(Self {
            text,
            region,
            account,
            in_china: partition == "aws-cn",
        })
    }

    /// Returns the SNS host in the topic's region.
    pub fn host(&self) -> String {
        format!(
            "sns.{}.amazonaws.com{}",
            self.region,
            if self.in_china { ".cn" } else { "" }
        )
    }
}

/// Returns whether a text has the format of a region, such as `us-east-1`, `us-gov-west-1` or `ap-southeast-10`: two
/// letters, labels, a number. `s3-us-west-2` must not match, because `sns.s3-us-west-2.amazonaws.com` is the host of an
/// S3 bucket.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [first, labels @ .., last] = parts.as_slice() else {
        return false;
    };
    let is_label =
        |label: &&str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= 32
        && first.len() == 2
        && is_label(first)
        && !labels.is_empty()
        && labels.iter().all(is_label)
        && (1..=2).contains(&last.len())
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the partition of a region. `None` for the isolated partitions, whose hosts are not under `amazonaws.com` and
/// which have no Appstore.
pub(super) fn partition_of(region: &str) -> Option<&'static str> {
    match region.split('-').nth(1)? {
        "gov" => Some("aws-us-gov"),
        "iso" | "isob" | "isoe" | "isof" => None,
        _ if region.starts_with("cn-") => Some("aws-cn"),
        _ => Some("aws"),
    }
}

fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Status of a topic at a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicStatus {
    /// The topic may send. It stays pinned after its subscription ends, because it was trusted once.
    Pinned,
    Pending(TopicId),
    Rejected,
    /// The topic is new, or its request expired before an operator decided.
    Unknown,
}

/// Looks up the status of a topic among the platform's topics.
pub fn status(topics: &[Topic], arn: &str) -> TopicStatus {
    let Some(topic) = topics.iter().find(|topic| topic.arn == arn) else {
        return TopicStatus::Unknown;
    };
    match topic.state {
        TopicState::Configured | TopicState::Confirmed | TopicState::Unsubscribed => {
            TopicStatus::Pinned
        }
        TopicState::Pending => TopicStatus::Pending(topic.id),
        TopicState::Rejected => TopicStatus::Rejected,
        TopicState::Expired => TopicStatus::Unknown,
    }
}

/// Whether an operator must approve a topic that the platform does not follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// No, because the platform follows no topic yet and `auto_confirm_accounts` lists the topic's account.
    NotNeeded,
    Needed,
}

/// Decides whether an operator must approve a topic that the platform does not follow.
pub fn approval(topics: &[Topic], arn: &Arn<'_>, accounts: &[String]) -> Approval {
    let follows_one = topics
        .iter()
        .any(|topic| status(std::slice::from_ref(topic), &topic.arn) == TopicStatus::Pinned);
    let is_automatic = !follows_one && accounts.iter().any(|account| account == arn.account);
    if is_automatic {
        Approval::NotNeeded
    } else {
        Approval::Needed
    }
}

/// AWS account of the topics in Amazon's own examples
/// (<https://developer.amazon.com/docs/in-app-purchasing/rtn-example.html>). Amazon does not promise to keep using it,
/// so it approves nothing: its topics are only protected from being dropped while they await approval.
const AMAZON_ACCOUNT: &str = "033616359524";

/// Returns the pending topic to drop for a new request when the limit is reached. `topics` are the platform's, oldest
/// first.
///
/// A topic is known if its account is Amazon's, is in `accounts`, or owns a topic that the platform follows; all others
/// are unknown. An account id cannot be forged, so the rule depends on accounts only:
///
/// - Only an unknown topic is dropped.
/// - For a known topic, the oldest unknown one is dropped.
/// - For an unknown topic, the oldest topic of the account with the most unknown topics is dropped, unless the new
///   topic's account would then have more. So an account's only topic is never dropped for an unknown one, however many
///   arrive.
pub fn gives_way(topics: &[Topic], new: &Arn<'_>, accounts: &[String]) -> Option<TopicId> {
    let owner = |topic: &Topic| {
        Arn::read(&topic.arn)
            .map(|arn| arn.account.to_owned())
            .unwrap_or_default()
    };
    let is_pinned =
        |topic: &&Topic| status(std::slice::from_ref(*topic), &topic.arn) == TopicStatus::Pinned;
    let mut known = vec![AMAZON_ACCOUNT.to_owned()];
    known.extend(
        accounts
            .iter()
            .cloned()
            .chain(topics.iter().filter(is_pinned).map(owner)),
    );
    let pending = topics
        .iter()
        .filter(|topic| topic.state == TopicState::Pending)
        .map(|topic| (owner(topic), topic.id));
    let unknown: Vec<(String, TopicId)> = pending
        .filter(|(owner, _)| !known.contains(owner))
        .collect();
    if known.iter().any(|account| account == new.account) {
        return unknown.first().map(|(_, id)| *id);
    }
    let count = |account: &str| unknown.iter().filter(|(owner, _)| owner == account).count();
    // Among equal counts, `max_by_key` returns the last in reversed order, which is the oldest.
    let (owner, id) = unknown.iter().rev().max_by_key(|(owner, _)| count(owner))?;
    (count(owner) >= count(new.account) + 2).then_some(*id)
}

/// What to do with a message once its signature is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicAction {
    Accept,
    /// Store the notifications until the topic is approved or rejected.
    AcceptWaiting(TopicId),
    /// Request the subscribe URL and pin the topic.
    Confirm,
    /// Store the topic as pending, for an operator to approve.
    RequestApproval,
    /// Raise an alarm; record that the subscription ended, if the topic was pinned.
    Unsubscribe,
}

/// Decides what to do with a message. Runs before the signature is verified, so that no certificate is fetched for a
/// topic that may not send.
///
/// # Errors
/// The topic may not send this message to the platform.
pub fn action(
    envelope: &Envelope<'_>,
    status: TopicStatus,
    approval: Approval,
) -> Result<TopicAction, Refusal> {
    match (&envelope.kind, status) {
        (_, TopicStatus::Rejected) => Err(Refusal::TopicNotAllowed("topic was rejected")),
        (Kind::Notification { .. }, TopicStatus::Pinned) => Ok(TopicAction::Accept),
        (Kind::Notification { .. }, TopicStatus::Pending(topic)) => {
            Ok(TopicAction::AcceptWaiting(topic))
        }
        (Kind::SubscriptionConfirmation(_), TopicStatus::Pinned) => Ok(TopicAction::Confirm),
        (Kind::SubscriptionConfirmation(_), _) => Ok(match approval {
            Approval::NotNeeded => TopicAction::Confirm,
            Approval::Needed => TopicAction::RequestApproval,
        }),
        (Kind::UnsubscribeConfirmation(_), TopicStatus::Pinned | TopicStatus::Pending(_)) => {
            Ok(TopicAction::Unsubscribe)
        }
        (_, TopicStatus::Unknown) => Err(Refusal::TopicNotAllowed(
            "topic is not known to this platform",
        )),
    }
}

/// Refuses a SubscriptionConfirmation whose link does not confirm exactly this topic at its own SNS host.
///
/// # Errors
/// The link has a different host, topic, action or token. A valid signature does not rule that out, because any topic's
/// messages get one.
pub fn check_link(envelope: &Envelope<'_>, arn: &Arn<'_>) -> Result<(), Refusal> {
    let Kind::SubscriptionConfirmation(link) = &envelope.kind else {
        return Ok(());
    };
    let wrong = Refusal::Invalid("SubscribeURL does not confirm this topic");
    let parsed = SubscribeUrl::parse(&link.subscribe_url).ok_or(wrong)?;
    if parsed.host == arn.host() && parsed.topic_arn == arn.text && parsed.token == link.token {
        Ok(())
    } else {
        Err(wrong)
    }
}

/// Parts of a subscribe URL.
struct SubscribeUrl {
    host: String,
    topic_arn: String,
    token: String,
}

impl SubscribeUrl {
    /// Parses `https://{host}/?Action=ConfirmSubscription&TopicArn=…&Token=…`. Each parameter must appear once, and the
    /// URL must have no credentials, port, path or fragment.
    fn parse(text: &str) -> Option<Self> {
        let (host, query) = text.strip_prefix("https://")?.split_once("/?")?;
        let plain = host.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)
        });
        if !plain || query.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let only = |name: &str| {
            let mut values = url
                .query_pairs()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            values.next().filter(|_| values.next().is_none())
        };
        let parsed = Self {
            host: host.to_owned(),
            topic_arn: only("TopicArn")?,
            token: only("Token")?,
        };
        (only("Action")? == "ConfirmSubscription").then_some(parsed)
    }
}

/// Returns whether a URL confirms a subscription at the SNS host of the topic in it.
pub fn is_subscribe_url(text: &str) -> bool {
    let Some(parsed) = SubscribeUrl::parse(text) else {
        return false;
    };
    Arn::parse(&parsed.topic_arn).is_ok_and(|arn| arn.host() == parsed.host)
}
