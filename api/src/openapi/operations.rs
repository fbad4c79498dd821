//! Ids and tags of operations. Generated clients name their functions and modules after them, so they must not change
//! while their route exists.

use crate::route::Route;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The id of each operation, by path and method.
const IDS: [(&str, &str, &str); 127] = [
    ("/api/v1/events/schema/", "GET", "listEventSchemas"),
    ("/api/v1/events/schema/{type}", "GET", "getEventSchema"),
    ("/livez", "GET", "getLiveness"),
    ("/metrics", "GET", "getMetrics"),
    ("/openapi.json", "GET", "getOpenApi"),
    ("/openapi/device.json", "GET", "getDeviceOpenApi"),
    ("/readyz", "GET", "getReadiness"),
    ("/v1/about", "GET", "getAbout"),
    ("/v1/alarms", "GET", "listAlarms"),
    ("/v1/alarms/{alarm_id}", "GET", "getAlarm"),
    (
        "/v1/alarms/{alarm_id}/acknowledge",
        "POST",
        "acknowledgeAlarm",
    ),
    ("/v1/apps", "GET", "listApps"),
    ("/v1/apps", "POST", "createApp"),
    ("/v1/apps/{app_id}", "DELETE", "deleteApp"),
    ("/v1/apps/{app_id}", "GET", "getApp"),
    ("/v1/apps/{app_id}", "PATCH", "updateApp"),
    ("/v1/apps/{app_id}/catalogue", "GET", "getCatalogue"),
    ("/v1/apps/{app_id}/catalogue", "PUT", "replaceCatalogue"),
    (
        "/v1/apps/{app_id}/catalogue/unmapped",
        "GET",
        "listUnmappedSkus",
    ),
    ("/v1/apps/{app_id}/customers", "GET", "getCustomer"),
    ("/v1/apps/{app_id}/customers", "PUT", "nameCustomer"),
    ("/v1/apps/{app_id}/customers/erase", "POST", "eraseCustomer"),
    (
        "/v1/apps/{app_id}/customers/erase/{erasure_id}",
        "GET",
        "getErasure",
    ),
    ("/v1/apps/{app_id}/customers/move", "POST", "moveCustomer"),
    (
        "/v1/apps/{app_id}/customers/move/preview",
        "POST",
        "previewCustomerMove",
    ),
    (
        "/v1/apps/{app_id}/customers/state",
        "GET",
        "getCustomerState",
    ),
    (
        "/v1/apps/{app_id}/customers/{user_id}",
        "GET",
        "getCustomerDetail",
    ),
    (
        "/v1/apps/{app_id}/customers/{user_id}/access",
        "GET",
        "getCustomerAccess",
    ),
    (
        "/v1/apps/{app_id}/customers/{user_id}/explain",
        "GET",
        "explainCustomer",
    ),
    ("/v1/apps/{app_id}/destinations", "GET", "listDestinations"),
    (
        "/v1/apps/{app_id}/destinations",
        "POST",
        "createDestination",
    ),
    ("/v1/apps/{app_id}/entitlements", "GET", "listEntitlements"),
    (
        "/v1/apps/{app_id}/entitlements/{ref}",
        "DELETE",
        "deleteEntitlement",
    ),
    (
        "/v1/apps/{app_id}/entitlements/{ref}",
        "GET",
        "getEntitlement",
    ),
    (
        "/v1/apps/{app_id}/entitlements/{ref}",
        "PUT",
        "setEntitlement",
    ),
    ("/v1/apps/{app_id}/feed", "GET", "listFeed"),
    ("/v1/apps/{app_id}/platforms", "GET", "listPlatforms"),
    ("/v1/apps/{app_id}/platforms", "POST", "createPlatform"),
    ("/v1/apps/{app_id}/products", "GET", "listProducts"),
    (
        "/v1/apps/{app_id}/products/{sku}",
        "DELETE",
        "deleteProduct",
    ),
    ("/v1/apps/{app_id}/products/{sku}", "GET", "getProduct"),
    ("/v1/apps/{app_id}/products/{sku}", "PUT", "setProduct"),
    ("/v1/apps/{app_id}/rates", "GET", "listRates"),
    ("/v1/apps/{app_id}/rates", "PUT", "putRates"),
    ("/v1/apps/{app_id}/sales", "POST", "importSales"),
    (
        "/v1/apps/{app_id}/transfer-reviews",
        "GET",
        "listTransferReviews",
    ),
    ("/v1/audit-log", "GET", "listAuditLog"),
    ("/v1/caller", "GET", "getCaller"),
    ("/v1/check", "GET", "getCheck"),
    ("/v1/check/revenue", "GET", "getRevenueCheck"),
    ("/v1/deliveries", "GET", "listDeliveries"),
    ("/v1/deliveries/{delivery_id}", "GET", "getDelivery"),
    (
        "/v1/deliveries/{delivery_id}/attempts",
        "GET",
        "listDeliveryAttempts",
    ),
    (
        "/v1/deliveries/{delivery_id}/request",
        "GET",
        "getDeliveryRequest",
    ),
    ("/v1/destinations/kinds", "GET", "listDestinationKinds"),
    (
        "/v1/destinations/{destination_id}",
        "DELETE",
        "deleteDestination",
    ),
    ("/v1/destinations/{destination_id}", "GET", "getDestination"),
    (
        "/v1/destinations/{destination_id}",
        "PATCH",
        "updateDestination",
    ),
    (
        "/v1/destinations/{destination_id}/disable",
        "POST",
        "disableDestination",
    ),
    (
        "/v1/destinations/{destination_id}/enable",
        "POST",
        "enableDestination",
    ),
    (
        "/v1/destinations/{destination_id}/probe",
        "POST",
        "probeDestination",
    ),
    (
        "/v1/destinations/{destination_id}/retry",
        "POST",
        "retryDestination",
    ),
    (
        "/v1/destinations/{destination_id}/rotate-secret",
        "POST",
        "rotateDestinationSecret",
    ),
    (
        "/v1/destinations/{destination_id}/test",
        "POST",
        "testDestination",
    ),
    ("/v1/device-events", "GET", "listDeviceEvents"),
    ("/v1/device-events/{event_id}", "GET", "getDeviceEvent"),
    ("/v1/device/entitlements", "GET", "getDeviceEntitlements"),
    ("/v1/device/events", "POST", "reportDeviceEvents"),
    ("/v1/device/login", "POST", "logInOnDevice"),
    ("/v1/device/logout", "POST", "logOutOnDevice"),
    ("/v1/duties/{duty_id}/close", "POST", "closeDuty"),
    ("/v1/events", "GET", "listEvents"),
    ("/v1/events/{event_id}", "GET", "getEvent"),
    (
        "/v1/explain/destinations/{destination_id}",
        "GET",
        "explainDestination",
    ),
    ("/v1/explain/events/{event_id}", "GET", "explainEvent"),
    (
        "/v1/explain/notifications/{message_id}",
        "GET",
        "explainNotification",
    ),
    (
        "/v1/explain/purchases/{collapse_key}",
        "GET",
        "explainPurchase",
    ),
    ("/v1/keys", "GET", "listKeys"),
    ("/v1/keys", "POST", "createKey"),
    ("/v1/keys/{key_id}", "DELETE", "revokeKey"),
    ("/v1/keys/{key_id}", "GET", "getKey"),
    ("/v1/live", "GET", "streamChanges"),
    ("/v1/notifications", "GET", "listNotifications"),
    ("/v1/notifications/{message_id}", "GET", "getNotification"),
    ("/v1/overview", "GET", "getOverview"),
    ("/v1/payments", "GET", "listPayments"),
    ("/v1/platforms/{platform_id}", "DELETE", "deletePlatform"),
    ("/v1/platforms/{platform_id}", "GET", "getPlatform"),
    ("/v1/platforms/{platform_id}", "PATCH", "updatePlatform"),
    ("/v1/platforms/{platform_id}/arrivals", "GET", "getArrivals"),
    ("/v1/platforms/{platform_id}/duties", "GET", "listDuties"),
    ("/v1/platforms/{platform_id}/import", "GET", "getImport"),
    (
        "/v1/platforms/{platform_id}/import",
        "POST",
        "importPurchases",
    ),
    (
        "/v1/platforms/{platform_id}/login-secret",
        "DELETE",
        "removeLoginSecret",
    ),
    (
        "/v1/platforms/{platform_id}/login-secret",
        "POST",
        "setLoginSecret",
    ),
    (
        "/v1/platforms/{platform_id}/retire-old-ingress-key",
        "POST",
        "retireOldIngressKey",
    ),
    (
        "/v1/platforms/{platform_id}/retry-parked",
        "POST",
        "retryParkedPurchases",
    ),
    (
        "/v1/platforms/{platform_id}/rotate-ingress-key",
        "POST",
        "rotateIngressKey",
    ),
    (
        "/v1/platforms/{platform_id}/rotate-publishable-key",
        "POST",
        "rotatePublishableKey",
    ),
    ("/v1/platforms/{platform_id}/sample", "POST", "sendSample"),
    ("/v1/platforms/{platform_id}/steps", "GET", "listSetupSteps"),
    (
        "/v1/platforms/{platform_id}/test",
        "POST",
        "requestTestNotification",
    ),
    ("/v1/platforms/{platform_id}/topics", "GET", "listTopics"),
    (
        "/v1/platforms/{platform_id}/topics/{topic_id}/approve",
        "POST",
        "approveTopic",
    ),
    (
        "/v1/platforms/{platform_id}/topics/{topic_id}/reject",
        "POST",
        "rejectTopic",
    ),
    (
        "/v1/platforms/{platform_id}/try-access",
        "POST",
        "tryPlatformAccess",
    ),
    ("/v1/purchases", "GET", "listPurchases"),
    ("/v1/purchases/{collapse_key}", "GET", "getPurchase"),
    (
        "/v1/purchases/{collapse_key}/discard",
        "POST",
        "discardPurchase",
    ),
    (
        "/v1/purchases/{collapse_key}/flush",
        "POST",
        "flushPurchase",
    ),
    ("/v1/purchases/{collapse_key}/hold", "POST", "holdPurchase"),
    (
        "/v1/purchases/{collapse_key}/notifications",
        "GET",
        "listPurchaseNotifications",
    ),
    (
        "/v1/purchases/{collapse_key}/release",
        "POST",
        "releasePurchase",
    ),
    ("/v1/resends", "POST", "createResend"),
    ("/v1/search", "POST", "search"),
    ("/v1/series", "GET", "getSeries"),
    ("/v1/sign-in-links", "POST", "createSignInLink"),
    ("/v1/sign-ins", "GET", "listSignIns"),
    ("/v1/sign-ins/{sign_in_id}", "DELETE", "endSignIn"),
    ("/v1/stores", "GET", "listStores"),
    (
        "/v1/stores/{store}/{ingress_key}",
        "POST",
        "receiveStoreMessage",
    ),
    (
        "/v1/transfer-reviews/{review_id}",
        "GET",
        "getTransferReview",
    ),
    (
        "/v1/transfer-reviews/{review_id}/approve",
        "POST",
        "approveTransferReview",
    ),
    (
        "/v1/transfer-reviews/{review_id}/refuse",
        "POST",
        "refuseTransferReview",
    ),
    ("/v1/transfers", "GET", "listTransfers"),
    ("/v1/transfers/{transfer_id}", "GET", "getTransfer"),
    ("/v1/transfers/{transfer_id}/undo", "POST", "undoTransfer"),
];

/// Tag of routes about the service itself, which are not below `/v1`.
const SERVICE: &str = "service";

/// Returns the id of a route's operation, such as `getCustomerState`; `None` if it is missing in [`IDS`], which a test
/// detects.
pub fn id(route: &Route) -> Option<&'static str> {
    IDS.iter()
        .find(|(path, method, _)| (*path, *method) == (route.path, route.method))
        .map(|(.., id)| *id)
}

/// Returns the tag of a route's operation: the resource in its path, without the app.
pub fn tag(path: &str) -> &str {
    let Some(path) = path.strip_prefix("/v1/") else {
        return SERVICE;
    };
    let of_app = path.strip_prefix("apps/{app_id}/").unwrap_or(path);
    of_app.split('/').next().unwrap_or(SERVICE)
}

/// Returns the `tags` of a document with these paths.
pub fn tags<'a>(paths: impl Iterator<Item = &'a String>) -> Value {
    let names: BTreeSet<&str> = paths.map(|path| tag(path)).collect();
    names
        .into_iter()
        .map(|name| json!({ "name": name }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{IDS, id, tag};
    use crate::routes::routes;
    use std::collections::BTreeSet;

    #[test]
    fn each_route_has_one_id_of_its_own() {
        let of_routes: BTreeSet<_> = routes()
            .iter()
            .map(|route| (route.path, route.method, id(route).unwrap_or_default()))
            .collect();
        let listed: BTreeSet<_> = IDS.into_iter().collect();
        assert_eq!(
            of_routes, listed,
            "add a line for a new route, at the place of its path"
        );
        let ids: BTreeSet<&str> = IDS.iter().map(|(.., id)| *id).collect();
        assert_eq!(ids.len(), IDS.len(), "an id is used twice");
        for id in ids {
            let is_plain = id.starts_with(|first: char| first.is_ascii_lowercase())
                && id.bytes().all(|letter| letter.is_ascii_alphabetic());
            assert!(is_plain, "{id}");
        }
        assert!(IDS.is_sorted_by_key(|(path, method, _)| (*path, *method)));
    }

    #[test]
    fn the_tag_is_the_resource_of_the_path() {
        for (path, expected) in [
            ("/v1/apps", "apps"),
            ("/v1/apps/{app_id}", "apps"),
            ("/v1/apps/{app_id}/customers/state", "customers"),
            ("/v1/destinations/{destination_id}/test", "destinations"),
            ("/livez", "service"),
            ("/api/v1/events/schema/", "service"),
        ] {
            assert_eq!(tag(path), expected, "{path}");
        }
    }
}
