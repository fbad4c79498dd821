//! Erasing customers: takes the steps that are left, and asks destinations to delete the users. The sweep does both,
//! so that a request goes on after a kill; each step and each answer is noted before the next.

use crate::dependencies::Context;
use crate::spans;
use domain::DestinationId;
use protocols::destinations::Config;
use std::time::Duration;
use storage::{DeletionRequest, Error, RequestOutcome};
use tokio::time::{Instant, timeout};

/// Maximum number of rows that one step changes in a table.
const ROWS: i64 = 200;
/// Time after which no further step begins.
const STEPS_BUDGET: Duration = Duration::from_secs(2);
/// Time limit of one request to a destination.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes steps for a bounded time, and asks the destinations whose turn it is; returns whether more may remain.
pub async fn carry_on(context: &Context) -> bool {
    match steps(context).await {
        Ok(more) => {
            if let Err(error) = request_deletions(context).await {
                tracing::warn!(error = %error, "users were not deleted at destinations; the next sweep goes on");
            }
            more
        }
        Err(error) => {
            tracing::warn!(error = %error, "a customer was not erased everywhere; the next sweep goes on");
            false
        }
    }
}

async fn steps(context: &Context) -> Result<bool, Error> {
    let began = Instant::now();
    while context.store.continue_erasure(ROWS).await? {
        if began.elapsed() > STEPS_BUDGET {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn request_deletions(context: &Context) -> Result<(), Error> {
    for due in context.store.due_deletions().await? {
        let mut outcomes = Vec::with_capacity(due.destinations.len());
        for destination in &due.destinations {
            outcomes.push((*destination, request_deletion(context, *destination, &due).await?));
        }
        context.store.note_deletions(due.id, outcomes).await?;
    }
    Ok(())
}

/// Asks one destination. A request that is repeated after a kill deletes nothing more.
async fn request_deletion(
    context: &Context,
    id: DestinationId,
    due: &DeletionRequest,
) -> Result<RequestOutcome, Error> {
    let destination = match context.store.destination(id).await {
        Err(Error::Missing { .. }) => return Ok(RequestOutcome::NotPossible("it was deleted".to_owned())),
        found => found?,
    };
    let secret = context.store.destination_secret(id).await?;
    let config = match Config::ready(&destination, &secret, &context.allowed_addresses) {
        Ok(config) => config,
        Err(invalid) => return Ok(RequestOutcome::Failed(invalid.to_string())),
    };
    let Some(deletion) = config.deletion(&due.user_ids) else {
        let why = "it has no `secret_key`, without which nothing can be deleted there: delete the user manually";
        return Ok(RequestOutcome::NotPossible(why.to_owned()));
    };
    let span = spans::apart("RunActivity:erase", id);
    let sent = span.within(spans::request(deletion.of(destination.app_id), |deletion| context.http.send(deletion)));
    let Ok(reply) = timeout(REQUEST_TIMEOUT, sent).await else {
        return Ok(RequestOutcome::Failed("no answer in time".to_owned()));
    };
    Ok(match config.judge_deletion(&reply) {
        Ok(()) => RequestOutcome::Accepted,
        Err(why) => RequestOutcome::Failed(config.redact(&why)),
    })
}
