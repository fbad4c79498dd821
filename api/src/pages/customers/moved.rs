//! Transfers on the page of a customer: what moved, between which customers, and why. Pure.

use super::paid::{PaymentRow, rows};
use super::{Portrait, path};
use crate::pages::action::Action;
use crate::pages::parts::{Badge, Code, Moment, Tone};
use crate::pages::visit::Visit;
use crate::resources::standing::product;
use crate::resources::transfers::{Transfer, TransferSide};
use domain::{CollapseKey, Timestamp};
use std::time::Duration;
use storage::{MAX_TRANSFERS, TransferCause};

/// Remaining step after undoing a move by a login.
pub const LOG_IN_AGAIN: &str = " The customer must log in again on the device, such as the TV.";

/// How long after an undo the page announces it.
const ANNOUNCED_FOR: Duration = Duration::from_secs(300);

/// A transfer from or to the customer.
pub struct Moved {
    pub id: Code,
    /// The pages and products of the purchases that gave access.
    pub products: Vec<(String, String)>,
    /// Why it happened, with who caused it and the reason that was entered.
    pub why: String,
    pub is_away: bool,
    /// The page and the login of the other customer.
    pub other: (String, Code),
    pub at: Moment,
    pub undone: Option<Badge>,
    /// The form that takes it back.
    pub undo: Option<Action>,
}

impl Moved {
    /// The products that moved; none where no purchase gave access.
    pub fn names(&self) -> Vec<&str> {
        self.products
            .iter()
            .map(|(_, product)| product.as_str())
            .collect()
    }
}

/// The purchases that moved, each once, those of the latest transfer in front.
pub fn keys(transfers: &[Transfer]) -> Vec<CollapseKey> {
    let mut keys = Vec::new();
    for key in transfers.iter().flat_map(|one| &one.announced) {
        if !keys.contains(key) {
            keys.push(*key);
        }
    }
    keys
}

/// At most `at_most` purchases in these transfers that the customer does not have now, those of the latest transfer in
/// front; and whether that is all of them.
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

/// The transfers of a customer, newest first.
pub fn all(visit: &Visit, of: &Portrait) -> Vec<Moved> {
    of.transfers
        .iter()
        .map(|one| moved(visit, of, one))
        .collect()
}

/// The transfer after which the customer's purchases belong to another one: the latest, unless it was undone.
pub fn gone(all: &[Moved]) -> Option<&Moved> {
    all.first()
        .filter(|one| one.is_away && one.undone.is_none())
}

/// How a side of a transfer is called in a sentence.
pub fn called(side: &TransferSide) -> &str {
    side.external_id
        .as_deref()
        .unwrap_or("the customer without a login")
}

fn moved(visit: &Visit, of: &Portrait, one: &Transfer) -> Moved {
    let is_away = one.from.user_id == of.user();
    let other = if is_away { &one.to } else { &one.from };
    let products = of
        .moved
        .iter()
        .filter(|known| one.announced.contains(&known.collapse_key));
    let page = |key| super::view::purchase_path(visit, key);
    Moved {
        id: Code::short(one.transfer_id),
        products: products
            .map(|known| (page(known.collapse_key), product(known)))
            .collect(),
        why: why(one),
        is_away,
        other: (visit.to(&path(one.app_id, other.user_id)), login(other)),
        at: Moment::ago(one.created_at),
        undone: one.undone_by.map(|_| Badge::new(Tone::Idle, "undone")),
        undo: None,
    }
}

/// The payments of the purchases that the customer has, each with the former holder where the purchase moved after it.
pub fn payments(visit: &Visit, of: &Portrait) -> Vec<PaymentRow> {
    let with_move = |row: PaymentRow| {
        let moved = next_move(&of.transfers, row.entry.collapse_key, row.paid_at);
        let moved = moved.filter(|one| one.from.user_id != of.user());
        row.before(moved.map(|one| labelled("before the move from", visit, one, &one.from)))
    };
    rows(&of.read.payments.items)
        .into_iter()
        .map(with_move)
        .collect()
}

/// The payments of the customer for purchases that moved away since, each with its present holder.
pub fn payments_before(visit: &Visit, of: &Portrait) -> Vec<PaymentRow> {
    let own = |row: PaymentRow| {
        let moved = next_move(&of.transfers, row.entry.collapse_key, row.paid_at)?;
        let is_payer = moved.from.user_id == of.user();
        is_payer.then(|| {
            row.before(Some(labelled(
                "before the move to",
                visit,
                moved,
                &moved.to,
            )))
        })
    };
    rows(&of.moved_payments)
        .into_iter()
        .filter_map(own)
        .collect()
}

/// The first move of a purchase from one person to another after a time.
fn next_move(transfers: &[Transfer], key: CollapseKey, at: Timestamp) -> Option<&Transfer> {
    let moves = transfers
        .iter()
        .filter(|one| one.announced.contains(&key) && !is_first_login(one));
    moves
        .filter(|one| one.created_at > at)
        .min_by_key(|one| one.created_at)
}

/// Whether a customer without a login got one: before and after it the customer is one person. An erased customer may
/// have had one.
fn is_first_login(one: &Transfer) -> bool {
    let is_by_login = matches!(one.cause, TransferCause::Login | TransferCause::Naming);
    is_by_login && one.from.external_id.is_none() && !one.is_from_erased
}

fn labelled(
    text: &'static str,
    visit: &Visit,
    one: &Transfer,
    side: &TransferSide,
) -> (&'static str, String, Code) {
    (text, visit.to(&path(one.app_id, side.user_id)), login(side))
}

/// The login of a side, else its id.
fn login(side: &TransferSide) -> Code {
    side.external_id
        .as_ref()
        .map_or_else(|| Code::short(side.user_id), Code::short)
}

/// What an undo did, in a sentence: who has the purchases again; `None` if the latest transfer is no undo of the last
/// minutes. After a move by a login the device still belongs to the other customer.
pub fn undone(transfers: &[Transfer], now: Timestamp) -> Option<String> {
    let is_undo = |one: &&Transfer| {
        one.cause == TransferCause::Undo && now.since(one.created_at) <= ANNOUNCED_FOR
    };
    let undo = transfers.first().filter(is_undo)?;
    let former = transfers
        .iter()
        .find(|one| undo.undoes == Some(one.transfer_id));
    let is_by_login = former.is_some_and(|one| one.cause == TransferCause::Login);
    let again = if is_by_login { LOG_IN_AGAIN } else { "" };
    Some(format!(
        "The transfer was undone. The purchases belong to {} again.{again}",
        called(&undo.to)
    ))
}

/// Why purchases moved, in a sentence: what caused it, who did it, and the reason that was entered.
fn why(one: &Transfer) -> String {
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
pub mod tests {
    use super::{away, keys, next_move, undone, why};
    use crate::resources::transfers::{Transfer, TransferSide};
    use domain::{AppId, CollapseKey, Timestamp, TransferId, UserId};
    use storage::{MAX_TRANSFERS, TransferCause};
    use uuid::Uuid;

    /// A transfer to robin@example.com.
    pub fn transfer(cause: TransferCause, from: Option<&str>) -> Transfer {
        let side = |external_id: Option<&str>| TransferSide {
            user_id: UserId::new(Uuid::from_u128(1)),
            external_id: external_id.map(str::to_owned),
        };
        Transfer {
            transfer_id: TransferId::new(Uuid::from_u128(2)),
            app_id: AppId::new(Uuid::from_u128(3)),
            from: side(from),
            is_from_erased: false,
            to: side(Some("robin@example.com")),
            cause,
            app_user_ids: Vec::new(),
            announced: Vec::new(),
            by: None,
            reason: None,
            undoes: None,
            undone_by: None,
            can_undo: true,
            created_at: "2026-11-25T10:00:00Z".parse::<Timestamp>().unwrap(),
            warnings: Vec::new(),
        }
    }

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
            let found = next_move(&all, key, time(paid));
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
            next_move(&erased, key, time("2026-10-20T12:00:00Z")).is_some(),
            "the former holder paid"
        );
        let by_hand = [Transfer {
            cause: TransferCause::Admin,
            ..at("2026-11-01T00:00:00Z", None)
        }];
        assert!(
            next_move(&by_hand, key, time("2026-10-20T12:00:00Z")).is_some(),
            "no login"
        );
        assert!(
            next_move(
                &all,
                CollapseKey::new(Uuid::from_u128(5)),
                time("2026-11-20T12:00:00Z")
            )
            .is_none()
        );
    }

    #[test]
    fn after_the_undo_of_a_login_the_customer_logs_in_again() {
        let undo = |undone: TransferCause| {
            let former = Transfer {
                transfer_id: TransferId::new(Uuid::from_u128(7)),
                ..transfer(undone, Some("quinn@example.com"))
            };
            let undoes = Some(former.transfer_id);
            [
                Transfer {
                    undoes,
                    ..transfer(TransferCause::Undo, None)
                },
                former,
            ]
        };
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let undone = |transfers: &[Transfer]| {
            undone(transfers, at("2026-11-25T10:01:00Z")).unwrap_or_default()
        };
        assert_eq!(
            undone(&undo(TransferCause::Login)),
            "The transfer was undone. The purchases belong to robin@example.com again. The customer must log in again \
             on the device, such as the TV."
        );
        let by_hand = undone(&undo(TransferCause::Admin));
        assert!(
            by_hand.ends_with("belong to robin@example.com again."),
            "{by_hand}"
        );
        let [undo, former] = undo(TransferCause::Admin);
        assert_eq!(undone(&[former, undo]), "", "another move is the latest");
        assert_eq!(undone(&[]), "", "nothing was undone");
        let [undo, former] =
            [TransferCause::Undo, TransferCause::Admin].map(|cause| transfer(cause, None));
        assert_eq!(
            super::undone(&[undo, former], at("2026-11-25T10:06:00Z")),
            None,
            "minutes later"
        );
    }

    #[test]
    fn a_transfer_by_login_names_who_logged_in() {
        let known = why(&transfer(TransferCause::Login, Some("quinn@example.com")));
        assert_eq!(
            known,
            "robin@example.com logged in on a device that held these purchases."
        );
        let first = why(&transfer(TransferCause::Login, None));
        assert!(
            first.ends_with("which is normal at a first login."),
            "{first}"
        );
        let erased = why(&Transfer {
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
        assert_eq!(why(&by_hand), "Moved by anna.");
    }
}
