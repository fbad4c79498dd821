//! Which topics may send. Any customer of AWS can subscribe this service to a signed topic: the topic is
//! the only authority, so it is checked before anything is fetched.

use super::envelope::{Envelope, Kind};
use super::refusal::Refusal;
use domain::TopicId;
use storage::{Topic, TopicState};
use url::Url;

/// A topic's name, taken apart: `arn:{partition}:sns:{region}:{account}:{name}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    /// The whole name.
    pub text: &'a str,
    /// Its region, such as `us-east-1`.
    pub region: &'a str,
    /// The account of its owner: twelve digits.
    pub account: &'a str,
    in_china: bool,
}

impl<'a> Arn<'a> {
    /// Reads the name of a topic that may send here.
    ///
    /// # Errors
    /// Another shape, or a topic in China.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let arn = Self::read(text)?;
        if arn.in_china {
            return Err(Refusal::TopicNotAllowed("topics in China are not allowed by the settings"));
        }
        Ok(arn)
    }

    /// Reads a topic's name, of any region. FIFO topics are no exception: they cannot send over HTTP.
    ///
    /// # Errors
    /// Another shape.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        Self::split(text).ok_or(Refusal::Invalid("TopicArn is not the name of an SNS topic"))
    }

    fn split(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
        let (partition, service) = (parts.next()?, parts.next()?);
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let right = service == "sns" && is_region(region) && partition == partition_of(region)?;
        let named = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && is_name(name);
        (right && named).then_some(Self { text, region, account, in_china: partition == "aws-cn" })
    }

    /// The one host of this topic.
    #[must_use]
    pub fn host(&self) -> String {
        format!("sns.{}.amazonaws.com{}", self.region, if self.in_china { ".cn" } else { "" })
    }
}

/// `us-east-1`, `us-gov-west-1`, `ap-southeast-10`: two letters, labels, a number. `s3-us-west-2` is
/// none, which matters since it would make the host of a bucket named `sns`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [first, labels @ .., last] = parts.as_slice() else { return false };
    let is_label = |label: &&str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= 32
        && first.len() == 2
        && is_label(first)
        && !labels.is_empty()
        && labels.iter().all(is_label)
        && (1..=2).contains(&last.len())
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Isolated partitions have other hosts than `amazonaws.com` and no Appstore.
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
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The standing of a topic with a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may send. One that was unsubscribed is still the operator's choice.
    Pinned,
    /// It waits for approval.
    Pending(TopicId),
    /// An admin rejected it.
    Rejected,
    /// New, or undecided for so long that its request expired.
    Unknown,
}

/// The standing of a topic with a platform.
#[must_use]
pub fn standing(topics: &[Topic], arn: &str) -> Standing {
    let Some(topic) = topics.iter().find(|topic| topic.arn == arn) else { return Standing::Unknown };
    match topic.state {
        TopicState::Configured | TopicState::Confirmed | TopicState::Unsubscribed => Standing::Pinned,
        TopicState::Pending => Standing::Pending(topic.id),
        TopicState::Rejected => Standing::Rejected,
        TopicState::Expired => Standing::Unknown,
    }
}

/// How the subscription of a topic that is not followed is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// At once: the platform follows no topic yet, and the settings name this one's account.
    Foreseen,
    /// By an admin.
    Needed,
}

/// How the subscription of a topic is confirmed that is not followed.
#[must_use]
pub fn approval(topics: &[Topic], arn: &Arn<'_>, accounts: &[String]) -> Approval {
    let follows_one = topics.iter().any(|topic| standing(std::slice::from_ref(topic), &topic.arn) == Standing::Pinned);
    let is_foreseen = !follows_one && accounts.iter().any(|account| account == arn.account);
    if is_foreseen { Approval::Foreseen } else { Approval::Needed }
}

/// The treatment of a message after its signature is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Store it.
    Accept,
    /// Store it until the topic is approved or rejected.
    AcceptWaiting(TopicId),
    /// Visit the subscribe URL and pin the topic.
    Confirm,
    /// Store the topic as pending, for an admin to approve.
    RequestApproval,
    /// Note that the subscription ended.
    Unsubscribe,
}

/// Decides what is done with a message, before anything is fetched.
///
/// # Errors
/// The topic may not send this here.
pub fn course(envelope: &Envelope<'_>, standing: Standing, approval: Approval) -> Result<Course, Refusal> {
    match (&envelope.kind, standing) {
        (_, Standing::Rejected) => Err(Refusal::TopicNotAllowed("topic was rejected")),
        (Kind::Notification { .. }, Standing::Pinned) => Ok(Course::Accept),
        (Kind::Notification { .. }, Standing::Pending(topic)) => Ok(Course::AcceptWaiting(topic)),
        (Kind::SubscriptionConfirmation(_), Standing::Pinned) => Ok(Course::Confirm),
        (Kind::SubscriptionConfirmation(_), _) => Ok(match approval {
            Approval::Foreseen => Course::Confirm,
            Approval::Needed => Course::RequestApproval,
        }),
        (Kind::UnsubscribeConfirmation(_), Standing::Pinned | Standing::Pending(_)) => Ok(Course::Unsubscribe),
        (_, Standing::Unknown) => Err(Refusal::TopicNotAllowed("topic is not known to this platform")),
    }
}

/// Refuses a subscription whose link does not confirm exactly this topic at its own host.
///
/// # Errors
/// Any other URL. It is signed, but only by the owner of the topic.
pub fn check_link(envelope: &Envelope<'_>, arn: &Arn<'_>) -> Result<(), Refusal> {
    let Kind::SubscriptionConfirmation(link) = &envelope.kind else { return Ok(()) };
    let wrong = Refusal::Invalid("SubscribeURL does not confirm this topic");
    let parsed = SubscribeUrl::parse(&link.subscribe_url).ok_or(wrong)?;
    if parsed.host == arn.host() && parsed.topic_arn == arn.text && parsed.token == link.token {
        Ok(())
    } else {
        Err(wrong)
    }
}

/// The parts of a subscribe URL.
struct SubscribeUrl {
    host: String,
    topic_arn: String,
    token: String,
}

impl SubscribeUrl {
    /// `https://{host}/?Action=ConfirmSubscription&TopicArn=…&Token=…`, each once, nothing hidden
    /// before or behind it.
    fn parse(text: &str) -> Option<Self> {
        let (host, query) = text.strip_prefix("https://")?.split_once("/?")?;
        let plain =
            host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
        if !plain || query.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let only = |name: &str| {
            let mut values = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            values.next().filter(|_| values.next().is_none())
        };
        let parsed = Self { host: host.to_owned(), topic_arn: only("TopicArn")?, token: only("Token")? };
        (only("Action")? == "ConfirmSubscription").then_some(parsed)
    }
}

/// Whether a URL is one that confirms a subscription at the host of the topic it names.
#[must_use]
pub fn is_subscribe_url(text: &str) -> bool {
    let Some(parsed) = SubscribeUrl::parse(text) else { return false };
    Arn::parse(&parsed.topic_arn).is_ok_and(|arn| arn.host() == parsed.host)
}
