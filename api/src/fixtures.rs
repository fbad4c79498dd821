//! A payment and a transfer with simple values, for tests of this package and others. Compiled only for tests and with
//! the feature `fixtures`.

use crate::resources::transfers::{Transfer, TransferSide};
use domain::payment::EntryKind;
use domain::{AppId, CollapseKey, Environment, EventId, TransferId, UserId};
use storage::{PaymentView, TransferCause};
use uuid::Uuid;

/// Returns a ledger entry in USD at the list price: a payment, or a change to one.
pub fn entry(number: i64, kind: EntryKind, usd: &str) -> PaymentView {
    let price = kind.is_payment().then(|| usd.to_owned());
    PaymentView {
        event_id: EventId::new(Uuid::from_u128(1)),
        collapse_key: CollapseKey::new(Uuid::from_u128(2)),
        number,
        kind,
        occurred_at: "2026-11-03T16:20:01Z".parse().expect("a time"),
        sku: None,
        currency: price.as_ref().map(|_| "USD".to_owned()),
        price,
        tax: None,
        country: None,
        usd: Some(usd.to_owned()),
        rate_day: None,
        is_rate_carried: false,
        unknown_because: None,
        is_unlisted: false,
        is_shown: false,
        source: "catalogue".to_owned(),
        transaction_id: None,
        is_corrected: false,
        environment: Environment::Production,
        created_at: "2026-11-03T16:20:01Z".parse().expect("a time"),
    }
}

/// Returns a transfer to robin@example.com.
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
        summary: String::new(),
        created_at: "2026-11-25T10:00:00Z".parse().expect("a time"),
        warnings: Vec::new(),
    }
}
