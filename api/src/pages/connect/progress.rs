//! The connection progress of a platform, and of its first event. This module is pure.

use crate::parts::{Badge, Moment, Sentence, Tone};
use crate::text::delivery_status;
use api::resources::explain::waits;
use domain::Outcome;
use storage::{
    ArrivalView, DeliveryStatus, PlatformProgress, PurchaseExplanation, PurchaseStatus,
    ReceivedNotification, TopicState, WaitingFor,
};

/// Stored facts about the connection of a platform.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub progress: PlatformProgress,
    /// Whether its app has a destination.
    pub has_destination: bool,
    pub takes_samples: bool,
    /// Whether its store has no topics to approve.
    pub is_without_topics: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStep {
    App,
    Platform,
    Console,
    Topic,
    Sample,
    Destination,
    First,
}

impl ConnectStep {
    pub const fn title(self) -> &'static str {
        match self {
            Self::App => "App",
            Self::Platform => "Platform",
            Self::Console => "The store's console",
            Self::Topic => "Topic",
            Self::Sample => "Sample",
            Self::Destination => "Destination",
            Self::First => "First event",
        }
    }

    /// Returns what to do next, for the list of connected platforms.
    pub const fn next(self) -> &'static str {
        match self {
            Self::App => "create an app",
            Self::Platform => "choose a store",
            Self::Console => "copy the URL into the store's console",
            Self::Topic => "approve or reject the topic",
            Self::Sample => "send a sample",
            Self::Destination => "add a destination",
            Self::First => "wait for the first event",
        }
    }

    /// Returns the path of the step's page, relative to the platform's.
    pub const fn path(self) -> &'static str {
        match self {
            Self::App | Self::Console => "",
            Self::Platform => "/settings",
            Self::Topic => "/topics",
            Self::Sample => "/sample",
            Self::Destination => "/destinations",
            Self::First => "/first",
        }
    }
}

impl Facts {
    pub fn accepted(&self) -> Option<&ArrivalView> {
        self.progress
            .arrivals
            .iter()
            .find(|one| one.reason.is_empty())
    }

    /// Returns the refused messages, latest first.
    pub fn refused(&self) -> Vec<&ArrivalView> {
        let mut all: Vec<_> = self
            .progress
            .arrivals
            .iter()
            .filter(|one| !one.reason.is_empty())
            .collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.last_at));
        all
    }

    pub fn is_trusted(&self) -> bool {
        self.progress
            .topics
            .iter()
            .any(|topic| matches!(topic.state, TopicState::Configured | TopicState::Confirmed))
    }

    /// Returns whether any topic has requested confirmation, which shows that the store knows the URL.
    fn has_requested(&self) -> bool {
        self.progress
            .topics
            .iter()
            .any(|topic| topic.state != TopicState::Configured)
    }

    /// Returns the number of topics that wait for a decision.
    pub fn pending(&self) -> usize {
        self.progress
            .topics
            .iter()
            .filter(|topic| topic.state == TopicState::Pending)
            .count()
    }

    /// Returns the steps of this platform, in order.
    pub fn steps(&self) -> Vec<ConnectStep> {
        let all = [
            ConnectStep::App,
            ConnectStep::Platform,
            ConnectStep::Console,
            ConnectStep::Topic,
            ConnectStep::Destination,
            ConnectStep::Sample,
            ConnectStep::First,
        ];
        all.into_iter()
            .filter(|step| match step {
                ConnectStep::Sample => self.takes_samples,
                ConnectStep::Topic => !self.is_without_topics,
                _ => true,
            })
            .collect()
    }

    pub fn is_done(&self, step: ConnectStep) -> bool {
        let has_arrived = self.accepted().is_some();
        match step {
            ConnectStep::App | ConnectStep::Platform => true,
            ConnectStep::Console if self.is_without_topics => has_arrived,
            // The demo follows a topic from the beginning. A sample needs neither console nor topic, so its arrival
            // says nothing about them.
            ConnectStep::Console => {
                self.has_requested() || (self.is_trusted() && (has_arrived || self.takes_samples))
            }
            ConnectStep::Topic => self.is_trusted(),
            ConnectStep::Sample => has_arrived,
            ConnectStep::Destination => self.has_destination,
            ConnectStep::First => self.progress.delivered_at.is_some(),
        }
    }

    /// Returns the first step that is not done; `None` if all are done.
    pub fn next(&self) -> Option<ConnectStep> {
        self.steps().into_iter().find(|step| !self.is_done(*step))
    }

    /// Returns the first step after this one that is not done, or else the first one before it.
    pub fn next_after(&self, current: ConnectStep) -> Option<ConnectStep> {
        let mut later = self
            .steps()
            .into_iter()
            .skip_while(|step| *step != current)
            .skip(1);
        later
            .find(|step| !self.is_done(*step))
            .or_else(|| self.next().filter(|step| *step != current))
    }
}

/// A step on an event's way to a destination, done or not.
pub struct Tick {
    pub badge: Badge,
    pub title: &'static str,
    pub sentence: Option<Sentence>,
    pub moment: Option<Moment>,
}

fn tick(
    badge: (Tone, &'static str),
    title: &'static str,
    sentence: Option<String>,
    moment: Option<Moment>,
) -> Tick {
    Tick {
        badge: Badge::new(badge.0, badge.1),
        title,
        sentence: sentence.map(|text| Sentence::new(&text)),
        moment,
    }
}

const DONE: (Tone, &str) = (Tone::Good, "done");
const OPEN: (Tone, &str) = (Tone::Idle, "not yet");

/// Returns the steps from a notification to a destination, each marked as done or not.
pub fn ticks(facts: &Facts, newest: Option<&PurchaseExplanation>, can_verify: bool) -> Vec<Tick> {
    let topic = if facts.is_trusted() {
        tick(DONE, "Topic approved", None, None)
    } else {
        tick(
            OPEN,
            "Topic approved",
            (facts.pending() > 0).then(|| "one waits for your decision".to_owned()),
            None,
        )
    };
    let last = newest.and_then(|found| {
        found
            .notifications
            .iter()
            .rfind(|one| !one.view.is_of_device())
    });
    let arrived = match last {
        Some(one) => {
            let sentence = format!("`{}`", one.view.store_type);
            tick(
                DONE,
                "A notification was accepted",
                Some(sentence),
                Some(Moment::ago(one.view.accepted_at)),
            )
        }
        None => match facts.accepted() {
            Some(one) => tick(
                DONE,
                "A notification was accepted",
                None,
                Some(Moment::ago(one.last_at)),
            ),
            None => tick(OPEN, "A notification was accepted", None, None),
        },
    };
    let topic = Some(topic).filter(|_| !facts.is_without_topics);
    let mut all: Vec<Tick> = topic.into_iter().collect();
    all.extend([arrived, settled(last, newest), verified(newest, can_verify)]);
    all.extend(announced(newest));
    all
}

fn settled(last: Option<&ReceivedNotification>, newest: Option<&PurchaseExplanation>) -> Tick {
    let title = "Its quiet window has passed, and it is settled";
    let Some((one, of)) = last.zip(newest) else {
        return tick(OPEN, title, None, None);
    };
    match (one.view.outcome, one.view.waiting_for) {
        (Some(Outcome::Settled | Outcome::NoChange | Outcome::Duplicate), _) => {
            tick(DONE, title, None, one.finished_at.map(Moment::ago))
        }
        (Some(other), _) => {
            let why = one
                .view
                .reason
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"));
            tick(
                (Tone::Bad, "not settled"),
                title,
                Some(format!("{}{why}", other.as_str().replace('_', " "))),
                None,
            )
        }
        (None, Some(WaitingFor::Window)) => {
            let sentence = "each new notification restarts it; it closes".to_owned();
            tick(
                (Tone::Busy, "window open"),
                title,
                Some(sentence),
                one.window_ends_at.map(Moment::until),
            )
        }
        (None, _) => tick((Tone::Warn, "waits"), title, Some(waits(one, of.now)), None),
    }
}

fn verified(newest: Option<&PurchaseExplanation>, can_verify: bool) -> Tick {
    let title = "It is verified with the store";
    let standing = newest
        .and_then(|found| found.purchase.as_ref())
        .map(|purchase| &purchase.standing);
    let at = standing.and_then(|standing| standing.verified_at);
    match (at, standing.and_then(|standing| standing.unverified_since)) {
        (Some(at), None) => tick(DONE, title, None, Some(Moment::ago(at))),
        (_, Some(since)) => tick(
            (Tone::Warn, "no response from the store"),
            title,
            Some("since".to_owned()),
            Some(Moment::at(since)),
        ),
        (None, None) if !can_verify => {
            let sentence = "the platform has no valid credentials, so nothing is verified";
            tick((Tone::Warn, "off"), title, Some(sentence.to_owned()), None)
        }
        (None, None) => tick(OPEN, title, None, None),
    }
}

/// Returns the latest event of a purchase and its deliveries.
fn announced(newest: Option<&PurchaseExplanation>) -> Vec<Tick> {
    let (event, delivery) = ("An event is recorded", "It reaches each destination");
    let Some((found, last)) = newest.and_then(|found| Some((found, found.events.last()?))) else {
        return vec![
            tick(OPEN, event, None, None),
            tick(OPEN, delivery, None, None),
        ];
    };
    let revision = last.event.revision;
    let of_revision = || {
        found
            .events
            .iter()
            .filter(|one| one.event.revision == revision)
    };
    let types: Vec<String> = of_revision()
        .map(|one| format!("`{}`", one.event.event_type))
        .collect();
    let mut all = vec![tick(
        DONE,
        event,
        Some(types.join(", ")),
        Some(Moment::ago(last.event.created_at)),
    )];
    let is_verified = found
        .purchase
        .as_ref()
        .is_some_and(|purchase| is_verified(&purchase.standing));
    for addressee in &found.addressees {
        let sendings = of_revision().flat_map(|one| &one.sendings);
        let mine: Vec<_> = sendings
            .filter(|one| one.delivery.destination_id == addressee.destination.id)
            .map(|one| &one.delivery)
            .collect();
        // The delivery that is furthest from being delivered is shown.
        let Some(worst) = mine.iter().max_by_key(|one| distance(one.status)) else {
            continue;
        };
        let name = &addressee.destination.name;
        let sentence = match worst.status {
            DeliveryStatus::Delivered if is_verified => {
                format!("a verified event was delivered to `{name}`")
            }
            DeliveryStatus::Delivered => format!("delivered to `{name}`"),
            _ => format!("to `{name}`"),
        };
        let moment = worst.finished_at.map(Moment::ago);
        all.push(Tick {
            badge: delivery_status(worst.status),
            title: delivery,
            sentence: Some(Sentence::new(&sentence)),
            moment,
        });
    }
    if all.len() == 1 {
        all.push(tick(
            OPEN,
            delivery,
            Some("no destination is subscribed to it".to_owned()),
            None,
        ));
    }
    all
}

/// Returns whether the store confirmed a purchase, and still responds.
const fn is_verified(standing: &PurchaseStatus) -> bool {
    standing.verified_at.is_some() && standing.unverified_since.is_none()
}

const fn distance(status: DeliveryStatus) -> u8 {
    match status {
        DeliveryStatus::Delivered | DeliveryStatus::Superseded => 0,
        DeliveryStatus::Skipped => 1,
        DeliveryStatus::Waiting => 2,
        DeliveryStatus::Pending => 3,
        DeliveryStatus::Failed => 4,
    }
}

/// Returns why stores cannot reach a URL; `None` if the URL gives no reason.
pub fn unreachable(url: &url::Url) -> Option<&'static str> {
    use url::Host;
    let is_private = match url.host() {
        Some(Host::Ipv4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local(),
        Some(Host::Domain(name)) => {
            !name.contains('.') || name.ends_with(".local") || name.ends_with(".localhost")
        }
        None => true,
    };
    if is_private {
        return Some("This address is not public, so no store can reach it");
    }
    (url.scheme() != "https").then_some("Stores send only to HTTPS, but this URL is plain HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;
    use storage::Topic;

    fn arrival(reason: &str) -> ArrivalView {
        let at = Timestamp::from_micros(0);
        ArrivalView {
            reason: reason.to_owned(),
            times: 1,
            first_at: at,
            last_at: at,
        }
    }

    fn topic(state: TopicState) -> Topic {
        let nil = uuid::Uuid::nil();
        Topic {
            id: domain::TopicId::new(nil),
            platform_id: domain::PlatformId::new(nil),
            arn: String::new(),
            state,
            requested_at: Timestamp::from_micros(0),
            decided_at: None,
            expires_at: None,
        }
    }

    #[test]
    fn the_first_step_that_is_not_done_is_next() {
        let mut facts = Facts::default();
        assert_eq!(facts.next(), Some(ConnectStep::Console));
        facts.progress.arrivals = vec![arrival("wrong topic")];
        assert_eq!(
            facts.next(),
            Some(ConnectStep::Console),
            "what was refused is no beginning"
        );
        facts.progress.topics = vec![topic(TopicState::Rejected), topic(TopicState::Pending)];
        assert_eq!(facts.next(), Some(ConnectStep::Topic));
        facts.progress.topics.push(topic(TopicState::Confirmed));
        assert_eq!(
            facts.next(),
            Some(ConnectStep::Destination),
            "a stranger's topic that waits holds nobody up"
        );
        assert_eq!(facts.pending(), 1);
        assert!(!facts.steps().contains(&ConnectStep::Sample));
        facts.takes_samples = true;
        assert_eq!(
            facts.next(),
            Some(ConnectStep::Destination),
            "a sample without a destination goes nowhere"
        );
        facts.has_destination = true;
        assert_eq!(facts.next(), Some(ConnectStep::Sample));
        facts.progress.arrivals.push(arrival(""));
        assert_eq!(
            (facts.next(), facts.refused().len()),
            (Some(ConnectStep::First), 1)
        );
        assert!(!facts.is_done(ConnectStep::First));
        facts.progress.delivered_at = Some(Timestamp::from_micros(1));
        assert!(facts.is_done(ConnectStep::First));
    }

    #[test]
    fn a_sample_shows_nothing_about_the_console() {
        let mut facts = Facts {
            takes_samples: true,
            has_destination: true,
            ..Facts::default()
        };
        facts.progress.arrivals.push(arrival(""));
        assert!(
            facts.is_done(ConnectStep::Sample)
                && !facts.is_done(ConnectStep::Console)
                && !facts.is_done(ConnectStep::Topic)
        );
        assert_eq!(facts.next(), Some(ConnectStep::Console));
        assert_eq!(
            facts.next_after(ConnectStep::Destination),
            Some(ConnectStep::First),
            "not back to the console"
        );
        facts.progress.delivered_at = Some(Timestamp::from_micros(1));
        assert_eq!(
            facts.next_after(ConnectStep::Destination),
            Some(ConnectStep::Console)
        );
    }

    #[test]
    fn a_store_without_topics_has_no_step_about_them() {
        let mut facts = Facts {
            is_without_topics: true,
            ..Facts::default()
        };
        assert!(!facts.steps().contains(&ConnectStep::Topic));
        assert_eq!(facts.next(), Some(ConnectStep::Console));
        facts.progress.arrivals = vec![arrival("no bearer token")];
        assert_eq!(facts.next(), Some(ConnectStep::Console));
        facts.progress.arrivals.push(arrival(""));
        assert_eq!(facts.next(), Some(ConnectStep::Destination));
        assert_eq!(ticks(&facts, None, true).len(), 5);
    }

    #[test]
    fn a_purchase_that_the_store_no_longer_confirms_is_unverified() {
        let at = Some(Timestamp::from_micros(1));
        let standing = |verified_at, unverified_since| PurchaseStatus {
            verified_at,
            unverified_since,
            ..PurchaseStatus::default()
        };
        assert!(is_verified(&standing(at, None)));
        assert!(!is_verified(&standing(at, at)) && !is_verified(&standing(None, None)));
    }

    #[test]
    fn a_url_that_no_store_reaches_is_noticed() {
        let why = |url: &str| unreachable(&url.parse().expect("a URL"));
        for url in [
            "http://127.0.0.1:8080/",
            "https://localhost/",
            "https://10.0.0.7/",
            "http://[::1]:8080/",
            "https://box/",
        ] {
            assert!(
                why(url).is_some_and(|why| why.contains("not public")),
                "{url}"
            );
        }
        assert!(why("http://settle.example.com/").is_some_and(|why| why.contains("HTTPS")));
        assert_eq!(why("https://settle.example.com/"), None);
        assert_eq!(why("https://93.184.216.34/"), None);
    }

    #[test]
    fn before_anything_arrived_nothing_is_ticked_off() {
        let all = ticks(&Facts::default(), None, true);
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|tick| tick.moment.is_none()));
    }
}
