//! The user's state that an event contains, and whether the destination may have a newer one.

use super::lane::Lane;
use crate::delivery::user_lanes::{UserLane, UserState};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{Environment, EventId, UserId};

/// Whether an event contains a state of its user, and whether the destination may have a newer one.
#[derive(Clone, Copy)]
pub enum CarriedState {
    /// Contains no state, or the destination does not get requests user by user.
    None,
    /// Contains a state, and no newer state was sent.
    New(UserState),
    /// Contains a state, but a newer state was sent, with or without a response; or a state of another user, who owns
    /// the purchase now, was sent.
    Stale,
}

row! {
    /// The revision of the user's state in an event, and the revisions that were sent to the destination and
    /// acknowledged: for the event's user, and for the user who owns the purchase now.
    struct StateRevisions {
        user_id: Option<UserId>,
        user_revision: Option<i64>,
        acked_revision: Option<i64>,
        sent_revision: Option<i64>,
        owner_acked_revision: Option<i64>,
        owner_sent_revision: Option<i64>,
    }
}

const AGE: Sql = statement! {hot "events_id", "
    SELECT e.user_id, e.user_revision, t.acked_revision, t.sent_revision,
        o.acked_revision AS owner_acked_revision, o.sent_revision AS owner_sent_revision
    FROM events e
    LEFT JOIN user_lanes t ON t.destination_id = ? AND t.user_id = e.user_id AND t.environment = ?
    LEFT JOIN user_lanes o ON o.destination_id = ? AND o.user_id = ? AND o.environment = ?
    WHERE e.id = ?
"};

/// Returns which state of a user an event carries. A newer state that was sent without a response may have arrived: the
/// older state would overwrite it, and the destination would not accept the newer one a second time. Revisions of two
/// users cannot be compared: if the event's user was merged into another one, any sent state of that user counts as
/// newer. The environments are independent of each other.
pub fn state(
    connection: &mut AnyConnection,
    lane: &Lane<'_>,
    event: EventId,
    environment: Environment,
) -> Result<CarriedState, Error> {
    let destination = lane.lease.destination;
    if !lane.destination.per_user {
        return Ok(CarriedState::None);
    }
    let owner = lane.user.map(|lane| lane.user);
    let revisions: Option<StateRevisions> = sql(AGE)
        .bind((
            destination,
            environment,
            destination,
            owner,
            environment,
            event,
        ))
        .first(connection)?;
    let Some(revisions) = revisions else {
        return Ok(CarriedState::None);
    };
    let (Some(user), Some(revision)) = (revisions.user_id, revisions.user_revision) else {
        return Ok(CarriedState::None);
    };
    let is_older = revisions
        .acked_revision
        .max(revisions.sent_revision)
        .is_some_and(|newest| newest > revision);
    let owners = revisions
        .owner_acked_revision
        .or(revisions.owner_sent_revision);
    if is_older || (owner != Some(user) && owners.is_some()) {
        return Ok(CarriedState::Stale);
    }
    Ok(CarriedState::New(UserState {
        lane: UserLane {
            destination,
            user,
            environment,
        },
        revision,
    }))
}
