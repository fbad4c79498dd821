//! The repair of the store: its history of messages, page by page, the newest one first. It also sends a test on request.

use super::ingress::{self, Body};
use super::protocol::{ProofProtocol, body, bucket};
use domain::PlatformId;
use protocols::http::Reply;
use protocols::stores::{
    Answer, RepairOutcome, RepairPage, RepairStep, RepairTask, Replied, Subject,
};
use serde::Deserialize;
use serde_json::Value;
use storage::FoundNotification;

#[derive(Deserialize)]
struct History {
    messages: Vec<Value>,
    /// The next page; `None` after the last one.
    next: Option<String>,
}

/// Why the store sends no test.
pub const NO_URL: &str = "the proof store has no URL: enter it there";

/// Returns the next step of a part of the repair.
pub fn next(
    protocol: &ProofProtocol,
    subject: &Subject,
    task: &RepairTask,
    replies: &[Replied],
) -> RepairStep {
    let (page, only_failures) = match task {
        RepairTask::Notifications {
            page,
            only_failures,
            ..
        } => (page, only_failures),
        RepairTask::Test => return test(protocol, replies),
        RepairTask::Voids { .. } | RepairTask::Orders(_) => {
            return RepairStep::Done(RepairOutcome::Found(RepairPage::default()));
        }
    };
    let Some(first) = replies.first() else {
        let folder = if *only_failures {
            "failures"
        } else {
            "messages"
        };
        return match protocol.get(folder, page.as_deref().unwrap_or("newest")) {
            Ok(request) => RepairStep::Send(Box::new(request), bucket("history")),
            Err(answer) => failed(answer),
        };
    };
    match body(&first.reply) {
        Ok(history) => RepairStep::Done(RepairOutcome::Found(found(subject.platform, history))),
        Err(answer) => failed(answer),
    }
}

/// Returns the next step of a request for a test.
fn test(protocol: &ProofProtocol, replies: &[Replied]) -> RepairStep {
    let Some(first) = replies.first() else {
        return match protocol.get("tests", "new") {
            Ok(request) => RepairStep::Send(Box::new(request), bucket("tests")),
            Err(answer) => failed(answer),
        };
    };
    if let Reply::Answer { status: 409, .. } = first.reply {
        return RepairStep::Done(RepairOutcome::Declined(NO_URL));
    }
    match body::<Value>(&first.reply) {
        Ok(_) => RepairStep::Done(RepairOutcome::Found(RepairPage::default())),
        Err(answer) => failed(answer),
    }
}

const fn failed(answer: Answer) -> RepairStep {
    RepairStep::Done(RepairOutcome::Failed(answer))
}

fn found(platform: PlatformId, history: History) -> RepairPage {
    let mut page = RepairPage {
        next: history.next,
        ..RepairPage::default()
    };
    for message in history.messages {
        match Body::deserialize(&message) {
            Ok(body) => {
                let notification = body.notification(platform);
                let (duty, closes) = ingress::duties(platform, &notification);
                page.notifications.push(FoundNotification {
                    notification,
                    own: Some(message),
                    duty,
                    closes,
                });
            }
            Err(_) => page.unreadable += 1,
        }
    }
    page
}
