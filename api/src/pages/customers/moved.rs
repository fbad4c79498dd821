//! Transfers on the page of a customer: what moved, between which customers, and why. Pure.

use super::{Portrait, path};
use crate::pages::action::Action;
use crate::pages::parts::{Badge, Code, Moment, Tone};
use crate::pages::visit::Visit;
use crate::resources::transfers::{Transfer, TransferSide};
use storage::TransferCause;

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
        self.products.iter().map(|(_, product)| product.as_str()).collect()
    }
}

/// The transfers of a customer, the newest in front.
pub fn all(visit: &Visit, of: &Portrait) -> Vec<Moved> {
    of.transfers.iter().map(|one| moved(visit, of, one)).collect()
}

/// The transfer after which the customer's purchases belong to another one: the latest, if nobody took it back.
pub fn gone(all: &[Moved]) -> Option<&Moved> {
    all.first().filter(|one| one.is_away && one.undone.is_none())
}

/// How a side of a transfer is called in a sentence.
pub fn called(side: &TransferSide) -> &str {
    side.external_id.as_deref().unwrap_or("the customer without a login")
}

fn moved(visit: &Visit, of: &Portrait, one: &Transfer) -> Moved {
    let is_away = one.from.user_id == of.user();
    let other = if is_away { &one.to } else { &one.from };
    let known = other.external_id.as_ref().map(Code::short);
    let products = of.moved.iter().filter(|known| one.announced.contains(&known.0));
    Moved {
        id: Code::short(one.transfer_id),
        products: products.map(|(key, product)| (super::view::purchase_path(visit, *key), product.clone())).collect(),
        why: why(one),
        is_away,
        other: (visit.to(&path(one.app_id, other.user_id)), known.unwrap_or_else(|| Code::short(other.user_id))),
        at: Moment::ago(one.created_at),
        undone: one.undone_by.map(|_| Badge::new(Tone::Idle, "undone")),
        undo: None,
    }
}

/// Why purchases moved, in a sentence: what caused it, who did it, and the reason that was entered.
fn why(one: &Transfer) -> String {
    let what = match one.cause {
        TransferCause::Login => {
            let subject = one.to.external_id.as_deref().unwrap_or("The other customer");
            let first = match one.from.external_id {
                None => "; they belonged to no login before, which is normal at a first login",
                Some(_) => "",
            };
            format!("{subject} logged in on a device that held these purchases{first}")
        }
        TransferCause::Naming => "Merged: the customer was given the id of the other customer".to_owned(),
        TransferCause::Admin => "Moved".to_owned(),
        TransferCause::Undo => "A transfer was undone".to_owned(),
    };
    let by = one.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = one.reason.as_ref().map(|reason| format!(" (\u{201c}{reason}\u{201d})")).unwrap_or_default();
    format!("{what}{by}{reason}.")
}

#[cfg(test)]
pub mod tests {
    use super::why;
    use crate::resources::transfers::{Transfer, TransferSide};
    use domain::{AppId, Timestamp, TransferId, UserId};
    use storage::TransferCause;
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
    fn a_transfer_by_login_names_who_logged_in() {
        let known = why(&transfer(TransferCause::Login, Some("quinn@example.com")));
        assert_eq!(known, "robin@example.com logged in on a device that held these purchases.");
        let first = why(&transfer(TransferCause::Login, None));
        assert!(first.ends_with("which is normal at a first login."), "{first}");
        let by_hand = Transfer { by: Some("anna".to_owned()), ..transfer(TransferCause::Admin, None) };
        assert_eq!(why(&by_hand), "Moved by anna.");
    }
}
