//! The repair of a platform: notifications that Apple lists as past, of production and sandbox, are read like pushed
//! ones. <https://developer.apple.com/documentation/appstoreserverapi/get-notification-history>

use super::chain::Chains;
use super::jws;
use super::notification::{ExpectedApp, SignedPayload, read};
use super::request::{AppStoreQuery, request};
use super::response::{NO_URL, ReadError, resource};
use super::{Settings, expected};
use crate::stores::{
    Answer, RepairOutcome, RepairPage, RepairStep, RepairTask, Replied, Retry, Subject,
};
use domain::time::DAY;
use domain::{Environment, Timestamp};
use serde::Deserialize;
use std::time::Duration;
use storage::FoundNotification;

/// How far the history of each environment goes back. A margin allows for the time until the request arrives.
const REACH: Duration = DAY.saturating_mul(179);
const SANDBOX_REACH: Duration = DAY.saturating_mul(29);
/// Name of the part of the history that is in the sandbox, before the page's token.
const SANDBOX: &str = "sandbox:";
const PRODUCTION: &str = "production:";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryResponse {
    pagination_token: Option<String>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    notification_history: Vec<PastNotification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PastNotification {
    signed_payload: String,
}

/// The answer to a request for a test notification.
#[derive(Deserialize)]
struct TestToken {
    /// Names the notification in a query about its delivery, which settle does not need: it sees it arrive.
    #[serde(rename = "testNotificationToken")]
    _token: String,
}

/// A page of the history of notifications.
struct HistoryPage {
    environment: Environment,
    token: Option<String>,
}

impl HistoryPage {
    /// Parses the name of a page; the first one is that of production, if the platform accepts it.
    fn of(name: Option<&str>, platform: Environment) -> Self {
        let environment = match name {
            Some(name) if name.starts_with(SANDBOX) => Environment::Sandbox,
            Some(_) => Environment::Production,
            None => platform,
        };
        let token = name.and_then(|name| name.split_once(':'));
        let token = token.map(|(_, token)| token.to_owned());
        Self {
            environment,
            token: token.filter(|token| !token.is_empty()),
        }
    }

    /// Returns the name of the page after this one, whose token Apple has if it is of the same environment.
    fn next(&self, token: Option<String>) -> Option<String> {
        match (token, self.environment) {
            (Some(token), Environment::Production) => Some(format!("{PRODUCTION}{token}")),
            (Some(token), Environment::Sandbox) => Some(format!("{SANDBOX}{token}")),
            (None, Environment::Production) => Some(SANDBOX.to_owned()),
            (None, Environment::Sandbox) => None,
        }
    }
}

/// Returns the next step of a part of a repair, given the replies to the requests that it has sent, oldest first.
pub fn next(
    settings: &Settings,
    chains: &Chains,
    subject: &Subject,
    task: &RepairTask,
    replies: &[Replied],
) -> RepairStep {
    let RepairTask::Notifications {
        since,
        began_at,
        page,
        only_failures,
    } = task
    else {
        return match task {
            RepairTask::Test => test(settings, subject, replies),
            // Apple lists neither voids nor orders, and settle requests none.
            _ => found(RepairPage::default()),
        };
    };
    let page = HistoryPage::of(page.as_deref(), subject.environment);
    let Some(replied) = replies.first() else {
        let reach = match page.environment {
            Environment::Production => REACH,
            Environment::Sandbox => SANDBOX_REACH,
        };
        let query = AppStoreQuery::Notifications {
            since: (*since).max(began_at.minus(reach)),
            until: *began_at,
            only_failures: *only_failures,
            page: page.token,
        };
        return send(settings, page.environment, &query);
    };
    match resource::<HistoryResponse>(replied, page.environment) {
        Ok(read) => found(listed(chains, subject, &page, read, replied.at)),
        Err(error) => unread(error, &page),
    }
}

fn send(settings: &Settings, environment: Environment, query: &AppStoreQuery) -> RepairStep {
    match request(settings, environment, query) {
        Some((request, bucket)) => RepairStep::Send(Box::new(request), bucket),
        None => {
            let why = "the store's address is not a URL";
            failed(Answer::Retry(Retry::new("invalid_url", why)))
        }
    }
}

/// Returns the next step of the request for a test notification, which Apple sends to the URL of the platform's
/// environment.
fn test(settings: &Settings, subject: &Subject, replies: &[Replied]) -> RepairStep {
    let environment = subject.environment;
    let Some(replied) = replies.first() else {
        return send(settings, environment, &AppStoreQuery::Test);
    };
    match resource::<TestToken>(replied, environment) {
        Ok(TestToken { .. }) => found(RepairPage::default()),
        Err(ReadError::NoUrl) => RepairStep::Done(RepairOutcome::Declined(NO_URL)),
        Err(ReadError::Refused(refusal)) => failed(Answer::Refused(refusal)),
        Err(ReadError::Retry(retry)) => failed(Answer::Retry(retry)),
        Err(ReadError::Unknown | ReadError::NoPage) => {
            let why = "the store does not know the request for a test notification";
            failed(Answer::Retry(Retry {
                is_strange: true,
                ..Retry::new("unexpected_status", why)
            }))
        }
    }
}

const fn found(page: RepairPage) -> RepairStep {
    RepairStep::Done(RepairOutcome::Found(page))
}

const fn failed(answer: Answer) -> RepairStep {
    RepairStep::Done(RepairOutcome::Failed(answer))
}

/// Returns the step after a reply without a page. An app that was never released has no history of production, but one
/// of the sandbox.
fn unread(error: ReadError, page: &HistoryPage) -> RepairStep {
    match error {
        ReadError::Refused(refusal)
            if refusal.can_recover && page.environment == Environment::Production =>
        {
            found(RepairPage {
                next: page.next(None),
                ..RepairPage::default()
            })
        }
        ReadError::Refused(refusal) => failed(Answer::Refused(refusal)),
        ReadError::Retry(retry) => failed(Answer::Retry(retry)),
        ReadError::NoPage | ReadError::Unknown | ReadError::NoUrl => {
            RepairStep::Done(RepairOutcome::Restart)
        }
    }
}

fn listed(
    chains: &Chains,
    subject: &Subject,
    page: &HistoryPage,
    read_page: HistoryResponse,
    now: Timestamp,
) -> RepairPage {
    let expected = expected(subject);
    let mut found = RepairPage {
        next: page.next(read_page.pagination_token.filter(|_| read_page.has_more)),
        ..RepairPage::default()
    };
    for past in read_page.notification_history {
        match read(chains, jws::verify, &past.signed_payload, now) {
            Ok(SignedPayload::Notification(signed)) => {
                found
                    .notifications
                    .extend(accepted(&expected, subject, *signed, now));
            }
            Ok(SignedPayload::Other { .. }) | Err(_) => found.unreadable += 1,
        }
    }
    found
}

/// Returns the notification of a purchase that the platform accepts.
fn accepted(
    expected: &ExpectedApp<'_>,
    subject: &Subject,
    signed: super::notification::SignedNotification,
    now: Timestamp,
) -> Option<FoundNotification> {
    if signed.refusal(expected).is_some() {
        return None;
    }
    let notification = signed.notification(subject.platform)?;
    let duty = signed.duty(subject.platform, now);
    Some(FoundNotification {
        notification,
        own: Some(signed.decoded),
        duty: duty.opens,
        closes: duty.closes,
    })
}
