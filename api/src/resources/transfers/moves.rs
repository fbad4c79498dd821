//! What transfers show about a customer's purchases: which ones moved, when and why. Pure.

use super::{Transfer, TransferSide};
use domain::{CollapseKey, Timestamp};
use storage::{MAX_TRANSFERS, TransferCause};

/// Returns the purchases that moved, without duplicates, beginning with the latest transfer.
pub fn keys(transfers: &[Transfer]) -> Vec<CollapseKey> {
    let mut keys = Vec::new();
    for key in transfers.iter().flat_map(|one| &one.announced) {
        if !keys.contains(key) {
            keys.push(*key);
        }
    }
    keys
}

/// Returns at most `at_most` purchases in these transfers that the customer does not own now, beginning with the latest
/// transfer; and whether these are all.
pub fn away(
    transfers: &[Transfer],
    is_own: impl Fn(&CollapseKey) -> bool,
    at_most: usize,
) -> (Vec<CollapseKey>, bool) {
    let mut keys = keys(transfers);
    keys.retain(|key| !is_own(key));
    let is_whole = keys.len() <= at_most && transfers.len() < MAX_TRANSFERS;
    keys.truncate(at_most);
    (keys, is_whole)
}

/// Returns a purchase's first move from one person to another after a time.
pub fn next(transfers: &[Transfer], key: CollapseKey, at: Timestamp) -> Option<&Transfer> {
    let moves = transfers
        .iter()
        .filter(|one| one.announced.contains(&key) && !is_first_login(one));
    moves
        .filter(|one| one.created_at > at)
        .min_by_key(|one| one.created_at)
}

/// Returns whether the transfer is an anonymous customer's first login, so that both sides are the same person. Never
/// true for an erased customer, who may have had a login.
fn is_first_login(one: &Transfer) -> bool {
    let is_by_login = matches!(one.cause, TransferCause::Login | TransferCause::Naming);
    is_by_login && one.from.external_id.is_none() && !one.is_from_erased
}

/// Returns the external id of a transfer's side; the user id if it has none.
pub fn login(side: &TransferSide) -> String {
    side.external_id
        .clone()
        .unwrap_or_else(|| side.user_id.to_string())
}

/// Returns the name of a transfer's side for a sentence.
pub fn called(side: &TransferSide) -> &str {
    side.external_id
        .as_deref()
        .unwrap_or("the customer without a login")
}

/// Returns a sentence on why purchases moved: the cause, the author, and the reason that the author entered.
pub fn summary(one: &Transfer) -> String {
    let what = match one.cause {
        TransferCause::Login => {
            let subject = one
                .to
                .external_id
                .as_deref()
                .unwrap_or("The other customer");
            let former = match one.from.external_id {
                None if is_first_login(one) => {
                    "; they belonged to no login before, which is normal at a first login"
                }
                None => "; the former holder was erased later",
                Some(_) => "",
            };
            format!("{subject} logged in on a device that held these purchases{former}")
        }
        TransferCause::Naming => {
            "Merged: the customer was given the id of the other customer".to_owned()
        }
        TransferCause::Admin => "Moved".to_owned(),
        TransferCause::Undo => "A transfer was undone".to_owned(),
    };
    let by = one
        .by
        .as_ref()
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let reason = one
        .reason
        .as_ref()
        .map(|reason| format!(" (\u{201c}{reason}\u{201d})"))
        .unwrap_or_default();
    format!("{what}{by}{reason}.")
}

#[cfg(test)]
mod tests {
    use super::{away, keys, next, summary};
    use crate::fixtures::transfer;
    use crate::resources::transfers::Transfer;
    use domain::{CollapseKey, Timestamp};
    use storage::{MAX_TRANSFERS, TransferCause};
    use uuid::Uuid;

    #[test]
    fn the_purchases_of_the_latest_transfer_are_in_front() {
        let key = |id| CollapseKey::new(Uuid::from_u128(id));
        let of = |announced: &[CollapseKey]| Transfer {
            announced: announced.to_vec(),
            ..transfer(TransferCause::Login, Some("quinn@example.com"))
        };
        assert_eq!(
            keys(&[of(&[key(7), key(9)]), of(&[key(1), key(7)])]),
            [key(7), key(9), key(1)]
        );
    }

    #[test]
    fn only_purchases_of_others_count_as_moved_away() {
        let of = |ids: std::ops::Range<u128>| Transfer {
            announced: ids
                .map(|id| CollapseKey::new(Uuid::from_u128(id)))
                .collect(),
            ..transfer(TransferCause::Login, None)
        };
        let shown = |transfers: &[Transfer], own: u128| {
            let is_own = |key: &CollapseKey| *key < CollapseKey::new(Uuid::from_u128(own));
            away(transfers, is_own, 3)
        };
        let keys = |ids: [u128; 3]| ids.map(|id| CollapseKey::new(Uuid::from_u128(id))).to_vec();
        assert_eq!(
            shown(&[of(0..9)], 6),
            (keys([6, 7, 8]), true),
            "own ones are left out first"
        );
        assert_eq!(shown(&[of(0..9)], 5), (keys([5, 6, 7]), false));
        let many: Vec<Transfer> = (0..MAX_TRANSFERS).map(|_| of(0..1)).collect();
        assert!(!shown(&many, 1).1, "there may be earlier transfers");
    }

    #[test]
    fn a_payment_is_before_the_first_move_from_a_login_after_it() {
        let key = CollapseKey::new(Uuid::from_u128(4));
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let at = |created_at: &str, from: Option<&str>| Transfer {
            created_at: time(created_at),
            announced: vec![key],
            ..transfer(TransferCause::Login, from)
        };
        let all = [
            at("2026-11-25T20:40:00Z", Some("quinn@example.com")),
            at("2026-11-01T00:00:00Z", Some("otto@example.com")),
            at("2026-10-20T12:00:05Z", None),
        ];
        let payer = |paid: &str| {
            let found = next(&all, key, time(paid));
            found.and_then(|one| one.from.external_id.clone())
        };
        assert_eq!(
            payer("2026-10-20T12:00:01Z").as_deref(),
            Some("otto@example.com"),
            "not that of the first login"
        );
        assert_eq!(
            payer("2026-11-20T12:00:00Z").as_deref(),
            Some("quinn@example.com")
        );
        assert_eq!(payer("2026-12-20T12:00:00Z"), None);
        let erased = [Transfer {
            is_from_erased: true,
            ..at("2026-11-01T00:00:00Z", None)
        }];
        assert!(
            next(&erased, key, time("2026-10-20T12:00:00Z")).is_some(),
            "the former holder paid"
        );
        let by_hand = [Transfer {
            cause: TransferCause::Admin,
            ..at("2026-11-01T00:00:00Z", None)
        }];
        assert!(
            next(&by_hand, key, time("2026-10-20T12:00:00Z")).is_some(),
            "no login"
        );
        assert!(
            next(
                &all,
                CollapseKey::new(Uuid::from_u128(5)),
                time("2026-11-20T12:00:00Z")
            )
            .is_none()
        );
    }

    #[test]
    fn a_transfer_by_login_names_who_logged_in() {
        let known = summary(&transfer(TransferCause::Login, Some("quinn@example.com")));
        assert_eq!(
            known,
            "robin@example.com logged in on a device that held these purchases."
        );
        let first = summary(&transfer(TransferCause::Login, None));
        assert!(
            first.ends_with("which is normal at a first login."),
            "{first}"
        );
        let erased = summary(&Transfer {
            is_from_erased: true,
            ..transfer(TransferCause::Login, None)
        });
        assert!(
            erased.ends_with("; the former holder was erased later."),
            "{erased}"
        );
        let by_hand = Transfer {
            by: Some("anna".to_owned()),
            ..transfer(TransferCause::Admin, None)
        };
        assert_eq!(summary(&by_hand), "Moved by anna.");
    }
}
