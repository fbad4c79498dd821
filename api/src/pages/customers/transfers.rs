//! The view of transfers on a customer's page: what moved, and between which customers. This module is pure.

use super::address::{path, purchase_path};
use crate::action::Action;
use crate::parts::{Badge, Code, Moment, Tone};
use crate::visit::Visit;
use api::resources::customer_detail::{CustomerTransfer, MovedPurchase};
use api::resources::transfers::moves::called;
use api::resources::transfers::{Transfer, TransferSide};
use domain::{Timestamp, UserId};
use std::time::Duration;
use storage::TransferCause;

/// Remaining step after undoing a move by a login.
pub const LOG_IN_AGAIN: &str = " The customer must log in again on the device, such as the TV.";

/// Time for which the page shows a notice after an undo.
const ANNOUNCED_FOR: Duration = Duration::from_secs(300);

/// A transfer from or to the customer.
pub struct TransferItem {
    pub id: Code,
    /// The pages and names of the products whose purchases gave access.
    pub products: Vec<(String, String)>,
    /// Cause of the transfer, with its author and the entered reason.
    pub why: String,
    pub is_away: bool,
    /// The page and the id of the other customer.
    pub other: (String, Code),
    pub at: Moment,
    pub undone: Option<Badge>,
    /// Form that undoes the transfer.
    pub undo: Option<Action>,
}

impl TransferItem {
    /// Returns the transfer for this customer's page.
    pub fn new(visit: &Visit, of: &CustomerTransfer, user: UserId) -> Self {
        let one = &of.transfer;
        let is_away = one.from.user_id == user;
        let other = if is_away { &one.to } else { &one.from };
        let product =
            |one: &MovedPurchase| (purchase_path(visit, one.collapse_key), one.product.clone());
        Self {
            id: Code::short(one.transfer_id),
            products: of.products.iter().map(product).collect(),
            why: one.summary.clone(),
            is_away,
            other: (visit.to(&path(one.app_id, other.user_id)), login(other)),
            at: Moment::ago(one.created_at),
            undone: one.undone_by.map(|_| Badge::new(Tone::Idle, "undone")),
            undo: None,
        }
    }

    /// Returns the names of the products that moved; empty if no purchase gave access.
    pub fn names(&self) -> Vec<&str> {
        self.products
            .iter()
            .map(|(_, product)| product.as_str())
            .collect()
    }
}

/// Returns the transfer that moved the customer's purchases away: the latest one, unless it was undone.
pub fn gone(all: &[TransferItem]) -> Option<&TransferItem> {
    all.first()
        .filter(|one| one.is_away && one.undone.is_none())
}

/// Returns a customer's external id or, without one, the user id.
fn login(side: &TransferSide) -> Code {
    side.external_id
        .as_ref()
        .map_or_else(|| Code::short(side.user_id), Code::short)
}

/// Returns who has the purchases again after an undo, as a sentence; `None` unless the latest transfer is a recent
/// undo. If a login made the move, the device still belongs to the other customer.
pub fn undone<'a>(
    transfers: impl Iterator<Item = &'a Transfer> + Clone,
    now: Timestamp,
) -> Option<String> {
    let is_undo = |one: &&Transfer| {
        one.cause == TransferCause::Undo && now.since(one.created_at) <= ANNOUNCED_FOR
    };
    let undo = transfers.clone().next().filter(is_undo)?;
    let mut transfers = transfers;
    let former = transfers.find(|one| undo.undoes == Some(one.transfer_id));
    let is_by_login = former.is_some_and(|one| one.cause == TransferCause::Login);
    let again = if is_by_login { LOG_IN_AGAIN } else { "" };
    Some(format!(
        "The transfer was undone. The purchases belong to {} again.{again}",
        called(&undo.to)
    ))
}

#[cfg(test)]
mod tests {
    use api::fixtures::transfer;
    use api::resources::transfers::Transfer;
    use domain::{Timestamp, TransferId};
    use storage::TransferCause;
    use uuid::Uuid;

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
            super::undone(transfers.iter(), at("2026-11-25T10:01:00Z")).unwrap_or_default()
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
            super::undone([undo, former].iter(), at("2026-11-25T10:06:00Z")),
            None,
            "minutes later"
        );
    }
}
