//! One change for each route that changes something.

use super::{Change, Office, change};
use domain::{AlarmId, PlatformId};
use serde_json::{Value, json};

impl Office {
    /// Returns one change for each route except the last ones, in an order in which each has an effect.
    #[expect(
        clippy::too_many_lines,
        reason = "a table: one entry for each route that changes something"
    )]
    pub(super) async fn changes(&self) -> Vec<Change> {
        let Self {
            app,
            platform,
            destination,
            ..
        } = self;
        let (of_app, of_platform) = (
            format!("/v1/apps/{app}"),
            format!("/v1/platforms/{platform}"),
        );
        let of_hook = format!("/v1/destinations/{destination}");
        let named = json!({ "external_id": "anna", "app_user_id": "u1", "store": "amazon" });
        let moved = json!({ "from": { "app_user_id": "u1", "store": "amazon" }, "external_id": "otto", "reason": "ticket 4711" });
        let erased = json!({ "external_id": "otto", "by": "me", "reason": "ticket 4711" });
        let hook =
            json!({ "kind": "webhook", "name": "other", "url": "https://receiver.invalid/hooks" });
        let sandbox = json!({ "store": "amazon", "name": "sandbox", "package_name": "p", "shared_secret": "a-shared-secret" });
        let catalogue =
            json!({ "entitlements": [], "products": [{ "sku": "year", "entitlements": [] }] });
        let sales = "Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace Currency,Sales Price\n\
            t1,2026-01-31T12:00:00Z,Charge,month,a receipt,USD,9.99\n";
        let about: PlatformId = platform.parse().expect("an id");
        let alarm = AlarmId::of(Some(about.uuid()), "odd", "look");
        self.service
            .store
            .alarm(Some(about), "odd", "look")
            .await
            .expect("raised");
        let (approved, rejected) = (self.pending("one").await, self.pending("two").await);
        let topic = |id: &str, verb: &str| format!("{of_platform}/topics/{id}/{verb}");
        vec![
            change(
                ("POST", "/v1/apps"),
                "/v1/apps".to_owned(),
                json!({ "name": "second" }),
                "app.create",
            ),
            change(
                ("PATCH", "/v1/apps/{app_id}"),
                of_app.clone(),
                json!({ "name": "renamed" }),
                "app.update",
            ),
            change(
                ("POST", "/v1/keys"),
                "/v1/keys".to_owned(),
                json!({ "name": "k", "role": "read" }),
                "key.create",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/platforms"),
                format!("{of_app}/platforms"),
                sandbox,
                "platform.create",
            ),
            change(
                ("PATCH", "/v1/platforms/{platform_id}"),
                of_platform.clone(),
                json!({ "window_seconds": 7, "shared_secret": "a-shared-secret" }),
                "platform.update",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/rotate-ingress-key"),
                format!("{of_platform}/rotate-ingress-key"),
                Value::Null,
                "platform.rotate-ingress-key",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/retire-old-ingress-key"),
                format!("{of_platform}/retire-old-ingress-key"),
                Value::Null,
                "platform.retire-old-ingress-key",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/rotate-publishable-key"),
                format!("{of_platform}/rotate-publishable-key"),
                Value::Null,
                "platform.update",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/login-secret"),
                format!("{of_platform}/login-secret"),
                Value::Null,
                "platform.login-secret",
            ),
            change(
                ("DELETE", "/v1/platforms/{platform_id}/login-secret"),
                format!("{of_platform}/login-secret"),
                Value::Null,
                "platform.login-secret",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/retry-parked"),
                format!("{of_platform}/retry-parked"),
                Value::Null,
                "platform.retry-parked",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/try-access"),
                format!("/v1/platforms/{}/try-access", self.queried().await),
                Value::Null,
                "platform.try-access",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/test"),
                format!("/v1/platforms/{}/test", self.tested().await),
                Value::Null,
                "platform.test",
            ),
            change(
                ("POST", "/v1/platforms/{platform_id}/import"),
                format!("{of_platform}/import"),
                json!({ "purchases": [{ "receipt_id": "r", "app_user_id": "u1" }] }),
                "platform.import",
            ),
            change(
                (
                    "POST",
                    "/v1/platforms/{platform_id}/topics/{topic_id}/approve",
                ),
                topic(&approved, "approve"),
                Value::Null,
                "topic.approve",
            ),
            change(
                (
                    "POST",
                    "/v1/platforms/{platform_id}/topics/{topic_id}/reject",
                ),
                topic(&rejected, "reject"),
                Value::Null,
                "topic.reject",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/destinations"),
                format!("{of_app}/destinations"),
                hook,
                "destination.create",
            ),
            change(
                ("PATCH", "/v1/destinations/{destination_id}"),
                of_hook.clone(),
                json!({ "rate": 7 }),
                "destination.update",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/rotate-secret"),
                format!("{of_hook}/rotate-secret"),
                Value::Null,
                "destination.update",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/test"),
                format!("{of_hook}/test"),
                Value::Null,
                "destination.test",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/probe"),
                format!("{of_hook}/probe"),
                Value::Null,
                "destination.probe",
            ),
            change(
                ("POST", "/v1/destinations/{destination_id}/retry"),
                format!("{of_hook}/retry"),
                Value::Null,
                "destination.retry",
            ),
            change(
                ("POST", "/v1/resends"),
                "/v1/resends".to_owned(),
                json!({ "missing": true, "destination_id": self.destination }),
                "resend",
            ),
            change(
                ("POST", "/v1/resends"),
                "/v1/resends".to_owned(),
                json!({ "all": true, "destination_id": self.destination }),
                "resend",
            ),
            change(
                ("POST", "/v1/resends"),
                "/v1/resends".to_owned(),
                json!({ "failed": true }),
                "resend",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/entitlements/{ref}"),
                format!("{of_app}/entitlements/gold"),
                json!({ "name": "Gold" }),
                "entitlement.set",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/products/{sku}"),
                format!("{of_app}/products/month"),
                json!({ "entitlements": ["gold"] }),
                "product.set",
            ),
            change(
                ("DELETE", "/v1/apps/{app_id}/products/{sku}"),
                format!("{of_app}/products/month"),
                Value::Null,
                "product.delete",
            ),
            change(
                ("DELETE", "/v1/apps/{app_id}/entitlements/{ref}"),
                format!("{of_app}/entitlements/gold"),
                Value::Null,
                "entitlement.delete",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/catalogue"),
                format!("{of_app}/catalogue"),
                catalogue,
                "catalogue.replace",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/rates"),
                format!("{of_app}/rates"),
                json!({ "rates": [{ "day": "2026-01-31", "currency": "EUR", "usd": "1.1" }] }),
                "rates.put",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/sales"),
                format!("{of_app}/sales"),
                json!(sales),
                "sales.import",
            ),
            change(
                ("PUT", "/v1/apps/{app_id}/customers"),
                format!("{of_app}/customers"),
                named,
                "customer.name",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/customers/move"),
                format!("{of_app}/customers/move"),
                moved,
                "customer.move",
            ),
            change(
                ("POST", "/v1/transfers/{transfer_id}/undo"),
                "/v1/transfers/LAST/undo".to_owned(),
                json!({ "reason": "ticket 4711" }),
                "transfer.undo",
            ),
            change(
                ("POST", "/v1/transfer-reviews/{review_id}/refuse"),
                format!("/v1/transfer-reviews/{}/refuse", self.review()),
                json!({ "reason": "ticket 4711" }),
                "transfer.refuse",
            ),
            change(
                ("POST", "/v1/transfer-reviews/{review_id}/approve"),
                format!("/v1/transfer-reviews/{}/approve", self.review()),
                json!({ "reason": "ticket 4711" }),
                "transfer.approve",
            ),
            change(
                ("POST", "/v1/duties/{duty_id}/close"),
                format!("/v1/duties/{}/close", self.duty()),
                json!({}),
                "duty.close",
            ),
            change(
                ("POST", "/v1/apps/{app_id}/customers/erase"),
                format!("{of_app}/customers/erase"),
                erased,
                "customer.erase",
            ),
            change(
                ("POST", "/v1/sign-in-links"),
                "/v1/sign-in-links".to_owned(),
                json!({ "name": "Carla", "role": "read" }),
                "sign_in.link",
            ),
            change(
                ("DELETE", "/v1/sign-ins/{sign_in_id}"),
                format!("/v1/sign-ins/{}", self.sign_in().await),
                Value::Null,
                "sign_in.end",
            ),
            change(
                ("POST", "/v1/alarms/{alarm_id}/acknowledge"),
                format!("/v1/alarms/{alarm}/acknowledge"),
                json!({ "note": "seen" }),
                "alarm.acknowledge",
            ),
            change(
                ("DELETE", "/v1/keys/{key_id}"),
                "/v1/keys/OTHER".to_owned(),
                Value::Null,
                "key.revoke",
            ),
            change(
                ("DELETE", "/v1/destinations/{destination_id}"),
                of_hook,
                Value::Null,
                "destination.delete",
            ),
            change(
                ("DELETE", "/v1/platforms/{platform_id}"),
                of_platform,
                Value::Null,
                "platform.delete",
            ),
            change(
                ("DELETE", "/v1/apps/{app_id}"),
                of_app,
                Value::Null,
                "app.delete",
            ),
        ]
    }
}
