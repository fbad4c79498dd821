//! Activities that fail and are retried. Only the engine knows them; storage does not.

use super::node::Node;
use crate::edge::Edge;
use domain::{CollapseKey, DestinationId};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{
    DestinationExplanation, MessageExplanation, PurchaseExplanation, ReceivedNotification,
};
use workflows::contract;
use workflows::failing::FailingActivity;

/// Maximum time that an explanation waits for the engine. After that, it shows only what storage knows.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of runs whose state one explanation reads.
const MAX_RUNS: usize = 20;

/// Returns the failing activities of a purchase: those of its own run, and of the run that its claims wait for.
pub async fn of_purchase(edge: &Edge, key: CollapseKey, facts: &PurchaseExplanation) -> Vec<Node> {
    let has_claims = facts.claims.iter().any(|claim| claim.status == "pending");
    let claims = has_claims.then(|| contract::claims_workflow_id(facts.platform_id));
    let runs = std::iter::once(contract::workflow_id(key)).chain(claims);
    let mut found = of_runs(edge, runs).await;
    found.extend(halt(edge, facts.notifications.iter()));
    found
}

/// Returns the failing activities of a message's purchases.
pub async fn of_message(edge: &Edge, facts: &MessageExplanation) -> Vec<Node> {
    let keys = facts
        .notifications
        .iter()
        .filter_map(|(one, _)| one.view.collapse_key);
    let mut found = of_runs(edge, keys.map(contract::workflow_id)).await;
    found.extend(halt(edge, facts.notifications.iter().map(|(one, _)| one)));
    found
}

/// Returns why no purchases are settled at the moment, if one of these notifications is not settled yet.
fn halt<'a>(
    edge: &Edge,
    mut notifications: impl Iterator<Item = &'a ReceivedNotification>,
) -> Option<Node> {
    let is_open = notifications.any(|one| one.view.outcome.is_none());
    let why = why_halted(
        edge.dispatch.engine().is_connected(),
        edge.workers.are_missing(),
    )?;
    is_open.then(|| Node::new("halted", why.to_owned()))
}

/// Returns why no purchases are settled; `None` if no cause is known.
const fn why_halted(is_connected: bool, is_without_worker: bool) -> Option<&'static str> {
    match (is_connected, is_without_worker) {
        (false, _) => Some("Temporal does not answer: nothing is settled or sent until it does"),
        (true, true) => Some(
            "no worker is running: nothing is settled or sent until `settle worker` is started",
        ),
        (true, false) => None,
    }
}

/// Returns the failing activities of a destination: those of its own run, of its stream of device events, and of the
/// runs of the purchases whose pending deliveries are shown.
pub async fn of_destination(
    edge: &Edge,
    id: DestinationId,
    facts: &DestinationExplanation,
) -> Vec<Node> {
    let own = [
        contract::destination_workflow_id(id),
        contract::stream_workflow_id(id),
    ];
    let pending: BTreeSet<CollapseKey> = facts
        .pending
        .iter()
        .map(|one| one.delivery.collapse_key)
        .collect();
    of_runs(
        edge,
        own.into_iter()
            .chain(pending.into_iter().map(contract::workflow_id)),
    )
    .await
}

async fn of_runs(edge: &Edge, workflow_ids: impl IntoIterator<Item = String>) -> Vec<Node> {
    let engine = edge.dispatch.engine();
    if !engine.is_connected() {
        return Vec::new();
    }
    let all = join_all(
        workflow_ids
            .into_iter()
            .take(MAX_RUNS)
            .map(|id| engine.failing(id)),
    );
    let found = tokio::time::timeout(TIMEOUT, all).await.unwrap_or_default();
    found
        .into_iter()
        .flatten()
        .flatten()
        .map(|one| node(&one))
        .collect()
}

fn node(one: &FailingActivity) -> Node {
    Node::new("failing", sentence(one))
        .fact("activity", &one.activity)
        .fact("attempts", one.attempts)
        .fact("why", &one.why)
        .fact("next_at", one.next_at)
}

/// Returns the sentence about a failing activity.
fn sentence(one: &FailingActivity) -> String {
    let what = match one.activity.as_str() {
        "settle" => "settling",
        "record" => "recording what the store answered",
        "verify" => "querying the store",
        "deliver" => "a delivery",
        "supervise" => "delivering what is pending",
        "stream" => "delivering the events of devices",
        "verify_claims" => "verifying what devices report",
        "hold" | "discard" | "redeliver" | "redeliver_all" | "set_enabled" | "test" => {
            "the request of an admin"
        }
        other => other,
    };
    let times = if one.attempts == 1 {
        "once".to_owned()
    } else {
        format!("{} times", one.attempts)
    };
    let next = one.next_at.map_or_else(
        || "trying again now".to_owned(),
        |at| format!("next attempt at {at}"),
    );
    format!(
        "{what} failed {times} and is retried, nothing is lost; {next}. Last failure: {}",
        one.why
    )
}

#[cfg(test)]
mod tests {
    use super::{sentence, why_halted};
    use domain::Timestamp;
    use workflows::failing::FailingActivity;

    #[test]
    fn what_halts_everything_is_named() {
        assert!(
            why_halted(false, false).is_some_and(|why| why.contains("Temporal does not answer"))
        );
        assert!(
            why_halted(false, true).is_some_and(|why| why.contains("Temporal does not answer"))
        );
        assert!(why_halted(true, true).is_some_and(|why| why.contains("no worker is running")));
        assert_eq!(why_halted(true, false), None);
    }

    #[test]
    fn a_failing_activity_is_named_with_its_failure() {
        let one = FailingActivity {
            activity: "record".to_owned(),
            attempts: 7,
            why: "a constraint forbids the change".to_owned(),
            next_at: Some(Timestamp::from_millis(1_800_000_000_000)),
        };
        assert_eq!(
            sentence(&one),
            "recording what the store answered failed 7 times and is retried, nothing is lost; next attempt at \
              2027-01-15T08:00:00.000000Z. Last failure: a constraint forbids the change"
        );
    }
}
