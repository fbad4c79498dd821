//! Transfer reviews: may a named customer's purchases follow a device to another customer? There is one review per pair
//! of customers, which an alarm shows, and its answer is permanent.

use crate::events::alarms;
use db::alarm::About;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{AlarmId, AppId, PlatformId, ReviewId, Timestamp, TransferPolicy, UserId};

/// Maximum number of open reviews of one former owner. Beyond it nothing moves, and a later login requests the review
/// again.
const MAX_OPEN: i64 = 20;
const KIND: &str = "transfer_wanted";
/// The alarm that a former owner has [`MAX_OPEN`] open reviews.
const FULL: &str = "reviews_full";
const CLOSED: &str = "a review was answered";

row! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Review {
        /// Id of the review, derived from both users.
        pub id: ReviewId,
        pub app_id: AppId,
        /// The platform of the device whose login first requested the review.
        pub platform_id: PlatformId,
        pub from_user_id: UserId,
        pub from_external_id: Option<String>,
        /// The customer who logged in on a device with the owner's purchases.
        pub to_user_id: UserId,
        pub to_external_id: Option<String>,
        pub requested_at: Timestamp,
        /// The decision; `None` while the review is open.
        pub is_approved: Option<bool>,
        pub answered_at: Option<Timestamp>,
    }
}

row! {
    struct PolicyRow {
        transfers: Option<TransferPolicy>,
        has_login_secret: bool,
    }
}

row! {
    struct ReviewAnswer {
        is_approved: Option<bool>,
    }
}

/// The columns of [`Review`].
pub const SELECT: &str = "
    r.id, r.app_id, r.platform_id, r.from_user_id, f.external_id AS from_external_id, r.to_user_id,
        o.external_id AS to_external_id, r.requested_at, r.is_approved, r.answered_at
    FROM transfer_reviews r
    JOIN users f ON f.id = r.from_user_id
    JOIN users o ON o.id = r.to_user_id";

const POLICY: Sql = statement! {"
    SELECT transfers, (login_secret IS NOT NULL) AS has_login_secret
    FROM platforms
    WHERE id = ?
"};

const ANSWER: Sql = statement!("SELECT is_approved FROM transfer_reviews WHERE id = ?");

const FIND: Sql = statement!("SELECT {SELECT} WHERE r.id = ?");

const COUNT_OPEN: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM transfer_reviews
    WHERE from_user_id = ? AND answered_at IS NULL
"};

const REQUEST: Sql = statement! {"
    INSERT INTO transfer_reviews (id, app_id, platform_id, from_user_id, to_user_id, requested_at)
    VALUES (?, ?, ?, ?, ?, ?)
"};

/// Returns whether a named customer's purchases may follow a device of this platform to another customer now. Under the
/// policy `review` a new pair of customers gets a review. A refusal holds under every policy. Both users must be
/// locked.
pub fn may_move(
    write: &mut Write<'_>,
    app: AppId,
    platform: PlatformId,
    from: UserId,
    to: UserId,
) -> Result<bool, Error> {
    let PolicyRow {
        transfers,
        has_login_secret,
    } = sql(POLICY)
        .bind(platform)
        .one(write.connection, "platform")?;
    let id = ReviewId::of(from, to);
    let known: Option<ReviewAnswer> = sql(ANSWER).bind(id).first(write.connection)?;
    let policy = transfers.unwrap_or_else(|| TransferPolicy::usual(has_login_secret));
    match (policy, known.map(|known| known.is_approved)) {
        (TransferPolicy::Never, _)
        | (_, Some(Some(false)))
        | (TransferPolicy::Review, Some(None)) => return Ok(false),
        (TransferPolicy::Immediate, _) | (TransferPolicy::Review, Some(Some(true))) => {
            return Ok(true);
        }
        (TransferPolicy::Review, None) => {}
    }
    let open: Option<i64> = sql(COUNT_OPEN).bind(from).value(write.connection)?;
    if open.unwrap_or(0) < MAX_OPEN {
        let request = sql(REQUEST).bind((id, app, platform, from, to));
        request.bind(write.now()?).later(write.connection)?;
        alarms::raise(
            write,
            About::Platform(platform),
            KIND,
            &detail(id, from, to),
        )?;
    } else {
        alarms::raise(write, About::Platform(platform), FULL, &full(from))?;
    }
    Ok(false)
}

/// Closes the alarm that a review's former owner has too many open reviews, because this one is answered. The alarm is
/// about the platform of the login for which there was no room, which may differ from the review's.
pub fn make_room(write: &mut Write<'_>, review: &Review) -> Result<(), Error> {
    alarms::close_everywhere(write, FULL, &full(review.from_user_id), CLOSED)
}

pub fn find(connection: &mut AnyConnection, id: ReviewId) -> Result<Review, Error> {
    sql(FIND).bind(id).one(connection, "review")
}

impl Review {
    pub fn alarm(&self) -> AlarmId {
        let detail = detail(self.id, self.from_user_id, self.to_user_id);
        AlarmId::of(Some(self.platform_id.uuid()), KIND, &detail)
    }
}

fn full(from: UserId) -> String {
    format!(
        "the user {from} has {MAX_OPEN} open reviews, and further logins, even the true owner's, are not listed: run \
         `settle customer reviews`, and refuse those of strangers; the others appear when their apps log in again"
    )
}

/// Returns the text of the alarm, which contains only ids, since names may be erased. Do not change the text: the
/// alarm's id is its hash, and an answer acknowledges the alarm by that id. With another text, answers of this release
/// would leave the alarms of 0.1.0 open, and answers of 0.1.0 those of this release.
fn detail(id: ReviewId, from: UserId, to: UserId) -> String {
    format!(
        "the user {to} logged in on a device with receipts of the user {from}: `settle customer approve {id} --reason \
         WHY` moves what those receipts bought, `settle customer refuse {id} --reason WHY` does not; nothing moves \
         until you decide"
    )
}

#[cfg(test)]
mod tests {
    use super::detail;
    use domain::{ReviewId, UserId};
    use uuid::Uuid;

    #[test]
    fn the_alarm_of_a_review_has_the_text_of_0_1_0() {
        let [from, to] = [1, 2].map(|number| UserId::new(Uuid::from_u128(number)));
        let id = ReviewId::of(from, to);
        let released = format!(
            "the user {to} logged in on a device with receipts of the user {from}: `settle customer approve {id} \
             --reason WHY` moves what those receipts bought, `settle customer refuse {id} --reason WHY` does not; \
             nothing moves until you decide"
        );
        assert_eq!(detail(id, from, to), released);
    }
}
