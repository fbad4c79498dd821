//! Users who prove to be one person.

use super::{Analysts, KEY, MINUTE, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An unnamed guest buys, and then gets the external id of a known customer: with the next event of that purchase, both
/// have one profile.
pub async fn who_turns_out_to_be_known_has_one_profile(own: &mut Analysts) {
    own.name("amzn1.account.DORA", "dora@shop").await;
    own.buy("dora-1", "amzn1.account.DORA").await;
    let mut guest = own.buy("guest-1", "amzn1.account.GUEST").await;
    own.drain(MINUTE).await;
    let nameless = devices(own, "guest-1");
    let [device] = nameless.iter().collect::<Vec<_>>()[..] else {
        panic!("one device: {nameless:?}")
    };
    let before = own
        .amplitude
        .profile(KEY, device)
        .expect("a profile of the device alone");
    assert_eq!((before.user_id, before.events.len()), (None, 1));

    own.name("amzn1.account.GUEST", "dora@shop").await;
    let notifications = guest.switch_off(own.now());
    own.happen(vec![(guest, notifications)]).await;
    own.drain(MINUTE).await;
    assert_eq!(
        devices(own, "guest-1"),
        nameless,
        "the purchase keeps its device"
    );
    let dora = own
        .amplitude
        .profile(KEY, "dora@shop")
        .expect("a profile of the customer");
    assert_eq!(
        own.amplitude.profile(KEY, device).as_ref(),
        Some(&dora),
        "the guest is the customer"
    );
    let types: Vec<&Value> = dora
        .events
        .iter()
        .map(|event| &event["event_type"])
        .collect();
    let purchased = json!("user.subscription.purchased");
    assert_eq!(
        types,
        [
            &purchased,
            &purchased,
            &json!("user.subscription.cancelled")
        ]
    );
    assert_eq!(dora.device_ids.len(), 2);
}

/// Returns the device ids with which a receipt's events were counted.
fn devices(own: &Analysts, receipt_id: &str) -> BTreeSet<String> {
    let key = json!(own.world().key(receipt_id));
    let events = own.amplitude.events(KEY);
    let about = events
        .iter()
        .filter(|one| one.event["event_properties"]["collapse_key"] == key);
    about.map(|one| text(&one.event["device_id"])).collect()
}
