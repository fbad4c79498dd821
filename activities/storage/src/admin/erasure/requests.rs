//! Requests to destinations to delete a user, repeated until each destination accepted the request or turned out to be
//! unable to fulfil it.

use super::report::{DeletionState, DeletionStatus, ErasureRow, SELECT};
use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::time::{HOUR, MINUTE};
use domain::user::{ErasedNames, REMOVED};
use domain::{AppId, DestinationId};
use std::time::Duration;
use uuid::Uuid;

/// The wait after the first failed request; it doubles with each further failure.
const FIRST_WAIT: Duration = MINUTE;
const MAX_WAIT: Duration = HOUR.saturating_mul(6);
/// Maximum number of users whose deletion is requested at once.
const AT_ONCE: i64 = 10;

/// A user that destinations are to delete.
#[derive(Clone, PartialEq, Eq)]
pub struct DeletionRequest {
    /// The request to erase the customer.
    pub id: Uuid,
    pub app: AppId,
    /// The ids under which destinations may know the user.
    pub user_ids: Vec<String>,
    /// The destinations to which the request is still to be sent.
    pub destinations: Vec<DestinationId>,
}

impl std::fmt::Debug for DeletionRequest {
    /// Omits the ids of the user.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeletionRequest")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The result of one request to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    Accepted,
    NotPossible(String),
    /// The request failed for this reason, and is repeated.
    Failed(String),
}

impl RequestOutcome {
    /// Removes the names of the user, which a destination may repeat in its response.
    fn without_names(self, names: &ErasedNames) -> Self {
        let without = |why: String| {
            if names.are_in(&why) {
                REMOVED.to_owned()
            } else {
                why
            }
        };
        match self {
            Self::Accepted => Self::Accepted,
            Self::NotPossible(why) => Self::NotPossible(without(why)),
            Self::Failed(why) => Self::Failed(without(why)),
        }
    }
}

const DUE: Sql = statement! {"
    {SELECT}
    WHERE finished_at IS NULL AND stage = 'destinations' AND due_at <= ?
    ORDER BY due_at, id
    LIMIT ?
"};
const LOCK: Sql = statement!("{SELECT} WHERE id = ? AND stage = 'destinations' FOR UPDATE");

impl Store {
    /// Returns the users whose deletion is to be requested now.
    pub async fn due_deletions(&self) -> Result<Vec<DeletionRequest>, Error> {
        let secrets = self.database.secrets.clone();
        self.read_now(move |connection, now| {
            let rows: Vec<ErasureRow> = sql(DUE).bind(now).bind(AT_ONCE).all(connection)?;
            let requests = rows.into_iter().map(|row| {
                let names = row.names(&secrets)?;
                let users = names.users.iter().map(ToString::to_string);
                Ok(DeletionRequest {
                    id: row.report.id,
                    app: row.report.app_id,
                    user_ids: names.external_id.clone().into_iter().chain(users).collect(),
                    destinations: row.report.pending().map(|one| one.destination_id).collect(),
                })
            });
            requests.collect()
        })
        .await
    }

    /// Records the results of requests to delete a user. Once no request is left to send, the names are removed here
    /// too.
    pub async fn note_deletions(
        &self,
        id: Uuid,
        outcomes: Vec<(DestinationId, RequestOutcome)>,
    ) -> Result<(), Error> {
        let secrets = self.database.secrets.clone();
        self.write(move |write| {
            let row: Option<ErasureRow> = sql(LOCK).bind(id).first(write.connection)?;
            let Some(mut row) = row else { return Ok(()) };
            let names = row.names(&secrets)?;
            for (destination, outcome) in &outcomes {
                let outcome = outcome.clone().without_names(&names);
                let of_it = row
                    .report
                    .destinations
                    .iter_mut()
                    .filter(|one| one.destination_id == *destination);
                of_it.for_each(|state| state.note(outcome.clone()));
            }
            let least = row.report.pending().map(|one| one.attempts).min();
            row.due_at = write.now()?.plus(wait(least.unwrap_or(0)));
            row.note(write)
        })
        .await
    }
}

/// Returns the wait after this number of failed requests.
fn wait(attempts: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
    FIRST_WAIT.saturating_mul(doubled).min(MAX_WAIT)
}

impl DeletionState {
    fn note(&mut self, outcome: RequestOutcome) {
        let (status, error) = match outcome {
            RequestOutcome::Accepted => (DeletionStatus::Accepted, None),
            RequestOutcome::NotPossible(why) => (DeletionStatus::NotPossible, Some(why)),
            RequestOutcome::Failed(why) => (DeletionStatus::Pending, Some(why)),
        };
        let is_sent = !matches!(status, DeletionStatus::NotPossible);
        self.attempts = self.attempts.saturating_add(u32::from(is_sent));
        (self.status, self.error) = (status, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_a_bound() {
        for (attempts, minutes) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (4, 8),
            (9, 256),
            (10, 360),
            (200, 360),
        ] {
            assert_eq!(wait(attempts), MINUTE * minutes, "{attempts}");
        }
    }
}
