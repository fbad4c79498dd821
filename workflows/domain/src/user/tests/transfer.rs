//! The events of transfers.

use super::{body, customer, event_body, owned};
use crate::catalogue::Listing;
use crate::event::tests::schema::{complaints, schema};
use crate::event::tests::{bought, monthly};
use crate::ids::{DeviceId, PlatformId, TransferId};
use crate::transition::TransitionKind;
use crate::user::{OwnedPurchase, TRANSFERS, UserDevice};
use serde_json::json;

pub fn device() -> UserDevice {
    UserDevice {
        id: DeviceId::new(uuid::uuid!("eadea2bf-79b3-444c-b3a4-9e0127abc840")),
        platform_id: PlatformId::new(uuid::uuid!("aaf69dba-ef67-40f5-82ec-c7623a2848a6")),
        platform_name: "Fire TV".to_owned(),
        platform_type: "amazon".to_owned(),
        marketplace_app_id: "com.example.radio".to_owned(),
    }
}

#[test]
fn both_events_of_a_transfer_name_it_and_no_other_event_does() {
    let owned = [owned("receipt", bought(monthly()))];
    let transfer = TransferId::of(customer().user_id, 1, 4);
    for event_type in TRANSFERS {
        let body = event_body(event_type, &owned, Some(transfer));
        assert_eq!(
            complaints(&schema(event_type), &body),
            [""; 0],
            "{event_type}"
        );
        assert_eq!(body["transfer_id"], json!(transfer));
        insta::assert_json_snapshot!(event_type, body);
    }
    assert_eq!(
        body(TransitionKind::Renewed, &owned).get("transfer_id"),
        None
    );
}

#[test]
fn a_purchase_is_entitling_while_it_gives_access_to_something() {
    let running = owned("receipt", bought(monthly()));
    let unlisted = OwnedPurchase {
        listing: Listing::default(),
        ..running.clone()
    };
    let replaced = OwnedPurchase {
        is_replaced: true,
        ..running.clone()
    };
    assert!(running.is_entitling());
    assert!(!unlisted.is_entitling() && !replaced.is_entitling());
}
