//! The views of the connection steps. This module is pure.

use super::devices::Devices;
use super::listed::destinations;
use super::of_app;
use super::progress::{ConnectStep, Facts, Tick, ticks, unreachable};
use super::steps::Connected;
use crate::action::Action;
use crate::change::{Mistakes, Refused};
use crate::described::inside;
use crate::frame::Frame;
use crate::lists::Table;
use crate::once::ShownOnce;
use crate::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::text::capital;
use crate::visit::Visit;
use api::resources::explain::duty;
use api::resources::forms::{Form, Step};
use api::resources::setup::{SetupState, SetupStep};
use askama::Template;
use domain::{CollapseKey, PlatformId, Timestamp, TransferPolicy};
use serde_json::Value;
use storage::{App, DutyView, Paged, Platform, PurchaseExplanation, Role, Topic, TopicState};
use url::Url;

/// A step in the row of all steps.
pub struct Stage {
    pub(super) title: &'static str,
    pub(super) path: String,
    pub(super) state: Badge,
    pub(super) is_current: bool,
}

/// The head of the page of each of a platform's steps.
pub struct Head {
    pub(super) app: String,
    pub(super) app_path: String,
    pub(super) name: String,
    pub(super) title: &'static str,
    pub(super) stages: Vec<Stage>,
}

impl Head {
    /// Returns the head of a step's page.
    pub fn new(
        visit: &Visit,
        app: &App,
        platform: &Platform,
        facts: &Facts,
        current: ConnectStep,
    ) -> Self {
        let next = facts.next();
        let stage = |step: ConnectStep| Stage {
            title: step.title(),
            path: match step {
                ConnectStep::App => of_app(visit, app.id, &format!("/ui/connect/apps/{}", app.id)),
                step => of_app(
                    visit,
                    app.id,
                    &format!("/ui/connect/platforms/{}{}", platform.id, step.path()),
                ),
            },
            state: if facts.is_done(step) {
                Badge::new(Tone::Good, "done")
            } else if next == Some(step) {
                Badge::new(Tone::Busy, "next")
            } else {
                Badge::new(Tone::Idle, "open")
            },
            is_current: step == current,
        };
        Self {
            app: app.name.clone(),
            app_path: of_app(visit, app.id, &format!("/ui/connect/apps/{}", app.id)),
            name: platform.settings.name.clone(),
            title: current.title(),
            stages: facts.steps().into_iter().map(stage).collect(),
        }
    }
}

/// A step in the store's console.
pub struct GuideStep {
    place: &'static str,
    title: &'static str,
    text: &'static str,
    url: Option<&'static str>,
    copy: Option<String>,
    seen: Option<SeenStep>,
    /// Whether a query of the store shows the step, and a visitor can request one below.
    can_query: bool,
    /// Whether a test notification shows the step, and a visitor can request one below.
    can_test: bool,
    is_in_settings: bool,
}

/// What was last seen of a step, and what to do next.
pub struct SeenStep {
    badge: Badge,
    last: Option<Sentence>,
    at: Option<Moment>,
    next: Option<Sentence>,
}

impl GuideStep {
    /// Returns the steps of a store's form, with what was last seen of each. `value` is the platform as the API shows
    /// it.
    pub fn all(form: Option<Form>, setup: &[SetupStep], value: &Value) -> Vec<Self> {
        let text = |name: &str| inside(value, name).as_str().map(str::to_owned);
        let guide = form.into_iter().flat_map(|form| form.guide);
        let step = |(step, seen): (Step, &SetupStep)| Self {
            place: step.place,
            title: step.title,
            text: step.text,
            url: step.url,
            copy: step.copy.and_then(text),
            seen: SeenStep::of(seen),
            can_query: seen.can_query,
            can_test: seen.can_test,
            is_in_settings: seen.is_in_settings,
        };
        guide.zip(setup).map(step).collect()
    }
}

impl SeenStep {
    /// Returns what is shown of a step; `None` if nothing is known of it.
    fn of(step: &SetupStep) -> Option<Self> {
        let badge = match step.state {
            SetupState::Done => Badge::new(Tone::Good, "done"),
            SetupState::Open => Badge::new(Tone::Idle, "open"),
            SetupState::Problem => Badge::new(Tone::Bad, "problem"),
            SetupState::Unknown => Badge::new(Tone::Idle, "not visible"),
        };
        let is_known = step.last_seen.is_some() || step.next.is_some();
        is_known.then(|| Self {
            badge,
            last: step.last_seen.as_deref().map(Sentence::new),
            at: step.last_seen_at.map(Moment::ago),
            next: step.next.as_deref().map(Sentence::new),
        })
    }
}

/// Messages refused for one reason.
pub struct RefusedRow {
    badge: Badge,
    sentence: Sentence,
    last: Moment,
    count: i64,
}

/// The previous URL, which is still accepted.
pub struct OldUrl {
    until: Moment,
    used: Option<Moment>,
}

impl OldUrl {
    fn of(value: &Value) -> Option<Self> {
        let time = |name: &str| value[name].as_str()?.parse().ok();
        Some(Self {
            until: Moment::until(time("until")?),
            used: time("last_used_at").map(Moment::ago),
        })
    }
}

/// The open duties to a platform's store, the earliest deadline first.
#[derive(Default)]
pub struct Duties {
    rows: Vec<DutyRow>,
    /// The command that lists all of them, if not all are shown.
    more: Option<String>,
}

/// An open duty to a platform's store.
pub struct DutyRow {
    sentence: Sentence,
    /// Path of the purchase, if the duty names one.
    path: Option<String>,
}

impl Duties {
    /// Returns the first page of the open duties, as of `now`.
    pub fn new(visit: &Visit, of: &Connected, open: &Paged<DutyView>, now: Timestamp) -> Self {
        let platform = &of.platform;
        let row = |one: &DutyView| DutyRow {
            sentence: Sentence::new(&capital(&duty(one, &platform.store, now))),
            path: one
                .collapse_key
                .map(|key| of_app(visit, of.app.id, &format!("/ui/purchases/{key}"))),
        };
        let is_cut = open.next_cursor.is_some();
        Self {
            rows: open.items.iter().map(row).collect(),
            more: is_cut.then(|| format!("settle duty list {}", platform.id)),
        }
    }
}

/// The page of the store's console.
#[derive(Template)]
#[template(path = "connect/console.html")]
pub struct ConsolePage<'a> {
    frame: &'a Frame,
    head: Head,
    url: Option<String>,
    old: Option<OldUrl>,
    warning: Option<&'static str>,
    takes_samples: bool,
    guide: Vec<GuideStep>,
    duties: Duties,
    silent: Option<Badge>,
    accepted: Option<(Badge, Moment, i64)>,
    rows: Vec<RefusedRow>,
    pending: Option<(Badge, usize)>,
    topics_path: String,
    unverified: Option<(Badge, &'static str)>,
    /// Warning that logins can be forged, with its consequence.
    unsigned: Option<(Badge, &'static str, PlatformId)>,
    settings_path: String,
    next: Option<(String, &'static str)>,
    actions: Vec<Action>,
    devices: Devices,
    delete_path: Option<String>,
    refused: Refused,
}

impl<'a> ConsolePage<'a> {
    /// Returns the page of a platform, as the API shows it, with the steps in its store's console.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: &Connected,
        guide: Vec<GuideStep>,
        value: &Value,
        mistakes: &Mistakes,
    ) -> Self {
        let text = |name: &str| inside(value, name).as_str().map(str::to_owned);
        let refused = of.facts.refused();
        let accepted = of.facts.accepted();
        let is_refused = refused
            .first()
            .is_some_and(|last| accepted.is_none_or(|one| one.last_at < last.last_at));
        let (ok, wrong) = if is_refused {
            ((Tone::Idle, "accepted before"), Tone::Bad)
        } else {
            ((Tone::Good, "accepted"), Tone::Idle)
        };
        let row = |one: &&storage::ArrivalView| RefusedRow {
            badge: Badge::new(wrong, "refused"),
            sentence: Sentence::new(&one.reason),
            last: Moment::ago(one.last_at),
            count: one.times,
        };
        let is_silent = accepted.is_none() && refused.is_empty();
        let next = of.facts.next().filter(|next| *next != ConnectStep::Console);
        let mut all = actions(
            frame,
            visit,
            of,
            !value["old_notification_url"].is_null(),
            mistakes,
        );
        if frame.may(Role::Operator) && guide.iter().any(|step| step.can_query) {
            all.insert(0, query(of.path(visit, "/try-access"), mistakes));
        }
        if frame.may(Role::Operator) && guide.iter().any(|step| step.can_test) {
            all.insert(0, test(of.path(visit, "/test"), mistakes));
        }
        Self {
            head: of.head(visit, ConnectStep::Console),
            url: text("notification_url"),
            old: OldUrl::of(&value["old_notification_url"]),
            warning: None,
            takes_samples: of.facts.takes_samples,
            guide,
            duties: Duties::default(),
            silent: is_silent.then(|| Badge::new(Tone::Idle, "nothing yet")),
            accepted: accepted
                .map(|one| (Badge::new(ok.0, ok.1), Moment::ago(one.last_at), one.times)),
            rows: refused.iter().map(row).collect(),
            pending: Some(of.facts.pending())
                .filter(|count| *count > 0)
                .map(|count| (Badge::new(Tone::Warn, "decision needed"), count)),
            topics_path: of.path(visit, "/topics"),
            unverified: match value["verification"]["state"].as_str() {
                Some("off") => Some("No credentials are set"),
                Some("refused") => Some("The store rejects the credentials"),
                _ => None,
            }
            .map(|why| (Badge::new(Tone::Warn, "not verified"), why)),
            unsigned: unsigned(&of.platform),
            settings_path: of.path(visit, "/settings"),
            next: next.map(|next| (of.path(visit, next.path()), next.next())),
            actions: all,
            devices: Devices::new(frame, visit, of, value, mistakes),
            delete_path: frame.may(Role::Operator).then(|| of.path(visit, "/delete")),
            refused: mistakes.refused.clone(),
            frame,
        }
    }

    /// Adds a warning if stores cannot reach the URL, and what devices need.
    #[must_use]
    pub fn with(self, public_url: &Url, once: &ShownOnce) -> Self {
        Self {
            warning: unreachable(public_url),
            devices: self.devices.with(public_url, once),
            ..self
        }
    }

    /// Adds the open duties to the store.
    #[must_use]
    pub fn with_duties(self, duties: Duties) -> Self {
        Self { duties, ..self }
    }
}

/// Returns what any user of the app can do as long as logins carry no token; `None` if they cannot.
fn unsigned(platform: &Platform) -> Option<(Badge, &'static str, PlatformId)> {
    let is_open = platform.unsigned_login_at.is_some() && !platform.has_login_secret;
    let moves = match platform.transfers() {
        TransferPolicy::Immediate => {
            "anyone who has a customer's proof of purchase from the store can take over the purchases by logging in"
        }
        TransferPolicy::Review => {
            "a login takes over another customer's purchases only after a person approves it"
        }
        TransferPolicy::Never => "no login can take over another customer's purchases",
    };
    is_open.then(|| {
        (
            Badge::new(Tone::Warn, "unsigned logins"),
            moves,
            platform.id,
        )
    })
}

/// Returns the action that queries the store.
fn query(path: String, mistakes: &Mistakes) -> Action {
    let what = "Queries the store at once with the platform's credentials, even if it refused them before. The steps then \
                show the result.";
    Action::new(path, "try-access", "Query the store now", what, mistakes)
}

/// Returns the action that requests a test notification.
fn test(path: String, mistakes: &Mistakes) -> Action {
    let what = "Has the store send a test notification to the URL that is set there. The steps then show it arriving.";
    let title = "Request a test notification";
    Action::new(path, "test", title, what, mistakes)
}

fn actions(
    frame: &Frame,
    visit: &Visit,
    of: &Connected,
    has_old: bool,
    mistakes: &Mistakes,
) -> Vec<Action> {
    let action = |name: &str, title, what: &str| {
        Action::new(
            of.path(visit, &format!("/{name}")),
            name,
            title,
            what,
            mistakes,
        )
    };
    let rotate = action(
        "rotate-ingress-key",
        "New URL",
        "Creates a new notification URL. The previous one keeps working for 72 hours, so nothing is lost while you \
         update the store's console.",
    );
    let retire_old = action(
        "retire-old-ingress-key",
        "End the old URL",
        "The previous URL will stop working within a second. Anything that the store still sends there will be lost.",
    );
    let parked = action(
        "retry-parked",
        "Verify parked purchases",
        "Retries the verification of purchases that the store did not know or that belong to another customer.",
    );
    let retire_old = has_old.then(|| (Role::Operator, retire_old.irrevocable()));
    let all = [
        Some((Role::Operator, rotate.irrevocable())),
        retire_old,
        Some((Role::Support, parked)),
    ];
    all.into_iter()
        .flatten()
        .filter(|(least, _)| frame.may(*least))
        .map(|(_, action)| action)
        .collect()
}

pub struct TopicRow {
    account: Option<String>,
    arn: String,
    state: Badge,
    requested: Moment,
    decided: Option<Moment>,
    expires: Option<Moment>,
    is_expired: bool,
    actions: Vec<Action>,
}

/// Returns the name of the account that owns a topic.
type Account<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Template)]
#[template(path = "connect/topics.html")]
pub struct TopicsPage<'a> {
    frame: &'a Frame,
    head: Head,
    rows: Vec<TopicRow>,
    pending: usize,
    console_path: String,
    next: Option<(String, &'static str)>,
    refused: Refused,
}

impl<'a> TopicsPage<'a> {
    /// Returns the topics of a platform, undecided ones first.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: &Connected,
        account: Account<'_>,
        mistakes: &Mistakes,
    ) -> Self {
        let row = |topic: &Topic| TopicRow {
            account: account(&topic.arn),
            arn: topic.arn.clone(),
            state: topic_state(topic.state),
            requested: Moment::ago(topic.requested_at),
            decided: topic.decided_at.map(Moment::ago),
            expires: topic
                .expires_at
                .filter(|_| topic.state == TopicState::Pending)
                .map(Moment::until),
            is_expired: topic.state == TopicState::Expired,
            actions: topic_actions(frame, visit, of, topic, mistakes),
        };
        let mut topics: Vec<&Topic> = of.facts.progress.topics.iter().collect();
        topics.sort_by_key(|topic| topic.state != TopicState::Pending);
        let next = of.facts.next().filter(|_| of.facts.is_trusted());
        Self {
            head: of.head(visit, ConnectStep::Topic),
            rows: topics.into_iter().map(row).collect(),
            pending: of.facts.pending(),
            console_path: of.path(visit, ""),
            next: next.map(|next| (of.path(visit, next.path()), next.next())),
            refused: mistakes.refused.clone(),
            frame,
        }
    }
}

fn topic_state(state: TopicState) -> Badge {
    match state {
        TopicState::Configured => Badge::new(Tone::Good, "approved in the settings"),
        TopicState::Confirmed => Badge::new(Tone::Good, "approved"),
        TopicState::Pending => Badge::new(Tone::Warn, "waiting for approval"),
        TopicState::Rejected => Badge::new(Tone::Bad, "rejected"),
        TopicState::Expired => Badge::new(Tone::Idle, "expired"),
        TopicState::Unsubscribed => Badge::new(Tone::Idle, "unsubscribed"),
    }
}

fn topic_actions(
    frame: &Frame,
    visit: &Visit,
    of: &Connected,
    topic: &Topic,
    mistakes: &Mistakes,
) -> Vec<Action> {
    if !frame.may(Role::Operator) {
        return Vec::new();
    }
    let action = |verb: &str, title, what: &str| {
        let path = of.path(visit, &format!("/topics/{}/{verb}", topic.id));
        Action::new(path, format!("{verb}-{}", topic.id), title, what, mistakes)
    };
    let approve = action(
        "approve",
        "Approve",
        "Confirms the subscription with the store and releases the waiting notifications. Each is settled when its \
         window ends.",
    );
    let reject = action(
        "reject",
        "Reject",
        "Refuses everything that this topic sends, including the notifications \
         that wait for it.",
    )
    .irrevocable();
    match topic.state {
        TopicState::Pending => vec![approve, reject],
        TopicState::Configured | TopicState::Confirmed => vec![reject],
        _ => Vec::new(),
    }
}

/// A kind of destination that can be added.
pub struct KindChoice {
    path: String,
    label: &'static str,
    summary: &'static str,
}

#[derive(Template)]
#[template(path = "connect/destinations.html")]
pub struct DestinationsPage<'a> {
    frame: &'a Frame,
    head: Head,
    destinations: Option<Table>,
    more: Option<String>,
    kinds: Vec<KindChoice>,
    may_add: bool,
    next: Option<(String, &'static str)>,
}

impl<'a> DestinationsPage<'a> {
    /// Returns the destinations of the platform's app, and the kinds that can be added.
    pub fn new(frame: &'a Frame, visit: &Visit, of: &Connected, forms: &[Form]) -> Self {
        let kind = |form: &Form| KindChoice {
            path: format!(
                "/ui/destinations/new?app_id={}&kind={}&platform_id={}",
                of.app.id, form.name, of.platform.id
            ),
            label: form.label,
            summary: form.summary,
        };
        let next = of.facts.next_after(ConnectStep::Destination);
        Self {
            head: of.head(visit, ConnectStep::Destination),
            more: of
                .destinations
                .next_cursor
                .as_ref()
                .map(|_| format!("/ui/destinations?app_id={}", of.app.id)),
            destinations: destinations(visit, &of.destinations.items),
            kinds: forms.iter().map(kind).collect(),
            may_add: frame.may(Role::Operator),
            next: next.map(|next| (of.path(visit, next.path()), next.next())),
            frame,
        }
    }
}

/// The progress of the latest event.
#[derive(Template)]
#[template(path = "connect/first.html")]
pub struct FirstPage<'a> {
    frame: &'a Frame,
    head: Head,
    ticks: Vec<Tick>,
    purchase: Option<(String, Code)>,
    has_arrived: bool,
    next: Option<(String, &'static str)>,
    /// Path to which a sample is sent, if this process accepts samples and the visitor may send one.
    sample_path: Option<String>,
    reason: String,
    wrong_reason: Option<String>,
}

impl<'a> FirstPage<'a> {
    /// Returns the page about a platform's latest purchase.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: &Connected,
        newest: Option<&(CollapseKey, PurchaseExplanation)>,
    ) -> Self {
        let next = of.facts.next().filter(|next| *next != ConnectStep::First);
        let may_send = of.facts.takes_samples && frame.may(Role::Operator);
        Self {
            head: of.head(visit, ConnectStep::First),
            has_arrived: of.facts.accepted().is_some(),
            ticks: ticks(
                &of.facts,
                newest.map(|(_, found)| found),
                of.platform.can_verify(),
            ),
            purchase: newest.map(|(key, _)| {
                (
                    of_app(visit, of.app.id, &format!("/ui/purchases/{key}")),
                    Code::short(key),
                )
            }),
            next: next.map(|next| (of.path(visit, next.path()), next.next())),
            sample_path: may_send.then(|| of.path(visit, "/sample?from=first")),
            reason: String::new(),
            wrong_reason: None,
            frame,
        }
    }
}
