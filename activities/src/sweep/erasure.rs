//! Erases customers: takes the remaining steps, and requests destinations to delete the users. The sweep does both, so
//! that an erasure continues after a crash; each step and each response is recorded before the next.

use crate::dependencies::Context;
use crate::failure::Failed;
use crate::spans;
use domain::DestinationId;
use futures::future::join_all;
use futures::{StreamExt, TryFutureExt};
use protocols::destinations::ready;
use std::time::Duration;
use storage::{DeletionRequest, Error, RequestOutcome};
use tokio::time::{Instant, timeout};
use workflows::activities::Swept;

/// Maximum number of rows that one step changes in a table.
const ROWS: i64 = 200;
/// Time limit of one request to a destination.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent requests about one user.
const MAX_CONCURRENT: usize = 16;

/// Executes the next steps of pending erasures until `until`.
pub async fn carry_on(context: &Context, until: Instant) -> Result<Swept, Failed> {
    while context.store.continue_erasure(ROWS).await? {
        if Instant::now() > until {
            return Ok(Swept {
                woken: 0,
                more: true,
            });
        }
    }
    Ok(Swept::default())
}

/// Requests the due deletions from all destinations at once, so that none waits for another one's response.
pub async fn request_deletions(context: &Context) -> Result<Swept, Failed> {
    let due = context.store.due_deletions().await?;
    let results = join_all(due.iter().map(|due| request_all(context, due))).await;
    results.into_iter().collect::<Result<(), Error>>()?;
    Ok(Swept::default())
}

/// Requests all destinations to delete a user, and records the results.
async fn request_all(context: &Context, due: &DeletionRequest) -> Result<(), Error> {
    let mut requests = Vec::with_capacity(due.destinations.len());
    for id in &due.destinations {
        requests.push(request_deletion(context, *id, due).map_ok(|outcome| (*id, outcome)));
    }
    let outcomes: Vec<Result<_, Error>> = futures::stream::iter(requests)
        .buffered(MAX_CONCURRENT)
        .collect()
        .await;
    context
        .store
        .note_deletions(due.id, outcomes.into_iter().collect::<Result<_, _>>()?)
        .await
}

/// Requests one destination to delete the users. A request repeated after a crash deletes nothing more.
async fn request_deletion(
    context: &Context,
    id: DestinationId,
    due: &DeletionRequest,
) -> Result<RequestOutcome, Error> {
    let destination = match context.store.destination(id).await {
        Err(Error::Missing { .. }) => {
            return Ok(RequestOutcome::NotPossible("it was deleted".to_owned()));
        }
        found => found?,
    };
    let secret = context.store.destination_secret(id).await?;
    let connector = match ready(&destination, &secret, &context.allowed_addresses) {
        Ok(connector) => connector,
        Err(invalid) => return Ok(RequestOutcome::Failed(invalid.to_string())),
    };
    let Some(deletion) = connector.deletion(&due.user_ids) else {
        let why = "it has no `secret_key`, without which nothing can be deleted there: delete the user manually";
        return Ok(RequestOutcome::NotPossible(why.to_owned()));
    };
    let span = spans::apart("RunActivity:erase", id);
    let sent = span.within(spans::request(
        deletion.of(destination.app_id),
        |deletion| context.http.deliver(deletion),
    ));
    let Ok(reply) = timeout(REQUEST_TIMEOUT, sent).await else {
        return Ok(RequestOutcome::Failed("no answer in time".to_owned()));
    };
    Ok(match connector.judge_deletion(&reply) {
        Ok(()) => RequestOutcome::Accepted,
        Err(why) => RequestOutcome::Failed(connector.redact(&why)),
    })
}
