//! Every route of the API with its access, in one list. The dashboard's routes are in `pages`.

use crate::edge::Shared;
use crate::openapi::{self, Documents};
use crate::operation::Described;
use crate::resources::{
    about, alarms, apps, arrivals, audit_log, catalogue, check, customer_day, customer_detail,
    customer_state, customers, deliveries, destinations, device_events, devices, document, duties,
    erasure, events, explain, feed, forms, health, import, keys, live, metrics, naming,
    notifications, overview, payments, platforms, purchases, rates, resends, reviews, sales,
    samples, schema, search, series, setup, sign_ins, stores, topics, transfers,
};
use crate::route::{Access, Route};
use axum::handler::Handler;
use std::sync::LazyLock;
use storage::Role::{self, Admin, Metrics, Operator, Read, Support};

/// OpenAPI documents: of all routes, and of those for devices. Each is generated on first use.
pub static DOCUMENTS: Documents = Documents {
    whole: LazyLock::new(|| openapi::document(routes())),
    device: LazyLock::new(|| openapi::part(&DOCUMENTS.whole, &routes(), Access::Device)),
};

pub fn routes() -> Vec<Route> {
    let mut all = service_routes();
    all.extend(app_routes());
    all.extend(installation_routes());
    all.extend(destination_routes());
    all.extend(customer_routes());
    all.extend(catalogue_routes());
    all.extend(platform_routes());
    all.extend(ledger_routes());
    all.extend(diagnostic_routes());
    all
}

fn service_routes() -> Vec<Route> {
    vec![
        open("GET", "/livez", health::live)
            .public()
            .summary("Check liveness. 200 while the process responds."),
        open("GET", "/readyz", health::ready).summary(
            "Check readiness. 200 while notifications are accepted and every encryption key is present. The body shows \
             Temporal's state.",
        ),
        key(Metrics, "GET", "/metrics", metrics::show).summary("Get metrics in the Prometheus text format."),
        open("GET", "/openapi.json", document::show).summary("Get the API's OpenAPI document."),
        open("GET", "/openapi/device.json", document::device)
            .public()
            .summary("Get the OpenAPI document for apps on devices, with only the routes that they call."),
        open("GET", "/api/v1/events/schema/", schema::index)
            .public()
            .summary("List event types, each with the version and URL of its schema."),
        open("GET", "/api/v1/events/schema/{type}", schema::show)
            .public()
            .summary("Get the JSON Schema of an event type."),
        open("POST", "/v1/stores/{store}/{ingress_key}", stores::receive)
            .public()
            .summary("Receive a store's message. A success status means that the message is durably stored."),
        device("POST", "/v1/device/events", devices::report).summary(
            "Report events from an app on a device. The first report creates the device and sets its secret. 200 means \
             that the valid events are durably stored; the response lists the invalid ones.",
        ),
        device("POST", "/v1/device/login", devices::login).summary(
            "Log a customer in on a device. Purchases with verified claims on the device move to the customer. 403 if \
             the platform requires signed logins and `token` is missing or invalid.",
        ),
        device("POST", "/v1/device/logout", devices::logout)
            .summary("Log the customer out of a device. The customer keeps their purchases."),
        device("GET", "/v1/device/entitlements", devices::entitlements)
            .summary("Get the active entitlements on a device. Empty for an unknown device."),
    ]
}

fn app_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/apps", apps::list).summary("List apps, oldest first."),
        key(Admin, "POST", "/v1/apps", apps::create).summary("Create an app."),
        key(Read, "GET", "/v1/apps/{app_id}", apps::show).summary("Get an app."),
        key(Operator, "PATCH", "/v1/apps/{app_id}", apps::update).summary("Rename an app."),
        key(Admin, "DELETE", "/v1/apps/{app_id}", apps::delete)
            .summary("Delete an app. Its records stay in the ledger."),
        key(Read, "GET", "/v1/apps/{app_id}/platforms", platforms::list).summary("List an app's platforms."),
        key(Operator, "POST", "/v1/apps/{app_id}/platforms", platforms::create)
            .summary("Create a platform, which connects the app to a store."),
        key(Read, "GET", "/v1/apps/{app_id}/destinations", destinations::list).summary("List an app's destinations."),
        key(Operator, "POST", "/v1/apps/{app_id}/destinations", destinations::create)
            .summary("Create a destination. Its secret is returned in this response only."),
        key(Read, "GET", "/v1/apps/{app_id}/feed", feed::list).summary(
            "List an app's purchases with their revisions and the digests of their latest states, ordered by collapse \
             key.",
        ),
    ]
}

fn installation_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/about", about::show)
            .summary("Get the version and, for admin keys with access to all apps, the settings without secrets."),
        key(Read, "GET", "/v1/overview", overview::show).summary(
            "Get an overview: counts of waiting, pending and failed work, and failing destinations and stores.",
        ),
        key(Read, "POST", "/v1/search", search::find)
            .as_query()
            .summary("Search by id: settle's ids, a store's ids, or a customer's external id. Changes nothing."),
        key(Read, "GET", "/v1/live", live::show).summary(
            "Stream changes as server-sent events: one event for each kind of resource that changed, without data.",
        ),
        key(Admin, "GET", "/v1/sign-ins", sign_ins::list)
            .summary("List current and past sign-ins to the dashboard, oldest first."),
        key(Admin, "DELETE", "/v1/sign-ins/{sign_in_id}", sign_ins::finish)
            .summary("Sign a person out of the dashboard."),
        key(Admin, "POST", "/v1/sign-in-links", sign_ins::link).summary(
            "Create a link that signs a person in to the dashboard. It can be used once and expires after ten minutes.",
        ),
        key(Metrics, "GET", "/v1/caller", keys::caller)
            .summary("Get the name, role and app of the API key that sent the request."),
        key(Admin, "GET", "/v1/keys", keys::list).summary("List API keys without their secrets, oldest first."),
        key(Admin, "POST", "/v1/keys", keys::create)
            .summary("Create an API key. The key is returned in this response only."),
        key(Admin, "GET", "/v1/keys/{key_id}", keys::show).summary("Get an API key without its secret."),
        key(Admin, "DELETE", "/v1/keys/{key_id}", keys::revoke).summary(
            "Revoke an API key, effective immediately. The key stays listed because the audit log refers to it.",
        ),
    ]
}

fn destination_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/destinations/kinds", forms::destinations).summary(
            "List the kinds of destinations with their forms: fields in display order, and setup steps at the \
             receiver.",
        ),
        key(Read, "GET", "/v1/destinations/{destination_id}", destinations::show)
            .summary("Get a destination with its health and delivery counts."),
        key(Operator, "PATCH", "/v1/destinations/{destination_id}", destinations::update)
            .summary("Update the given fields of a destination. A new secret is returned in this response only."),
        key(Operator, "DELETE", "/v1/destinations/{destination_id}", destinations::delete)
            .summary("Delete a destination. Its records stay in the ledger."),
        key(Operator, "POST", "/v1/destinations/{destination_id}/rotate-secret", destinations::rotate).summary(
            "Rotate a destination's signing secret. The new secret is returned in this response only. 422 if this kind \
             of destination does not sign its requests.",
        ),
        key(Support, "POST", "/v1/destinations/{destination_id}/test", destinations::test).summary(
            "Send a test request, with or without a sample event. 200 even if the test fails; 409, without sending \
             anything, if the destination is not ready; 429 after too many tests of email destinations.",
        ),
        key(Operator, "POST", "/v1/destinations/{destination_id}/enable", destinations::enable).summary(
            "Enable a destination: signal its workflow to resume sending. 409 if `newest_only` is true and the \
             destination is already enabled.",
        ),
        key(Operator, "POST", "/v1/destinations/{destination_id}/disable", destinations::disable)
            .summary("Disable a destination: signal its workflow to stop sending. Pending deliveries stay pending."),
        key(Support, "POST", "/v1/destinations/{destination_id}/probe", destinations::probe).summary(
            "Probe a destination now: signal its workflow to send a probe. 409 if the destination is disabled.",
        ),
        key(Support, "POST", "/v1/destinations/{destination_id}/retry", destinations::retry).summary(
            "Retry a destination's pending deliveries now. Ends back-offs and pauses, and sends a probe if the breaker \
             is open. 409 if the destination is disabled.",
        ),
    ]
}

fn customer_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/apps/{app_id}/customers", customers::show)
            .summary("Get a customer by exactly one of `external_id`, `app_user_id` and `receipt_id`."),
        key(Support, "PUT", "/v1/apps/{app_id}/customers", naming::name).summary(
            "Set a customer's external id. The customer is identified by the store's id of the customer or of a \
             purchase. If another customer already has the external id, the two are merged. 409 if the customer \
             already has a different external id, or if `merge` or `preview` rules out the change.",
        ),
        key(Support, "POST", "/v1/apps/{app_id}/customers/move", transfers::move_customer).summary(
            "Move a customer's purchases to the customer with another external id. 409 if that customer already owns \
             them, or if `create` or `preview` rules out the move.",
        ),
        key(Support, "POST", "/v1/apps/{app_id}/customers/move/preview", transfers::preview_move)
            .as_query()
            .summary("Preview the effects of moving a customer's purchases. Changes nothing."),
        key(Read, "GET", "/v1/transfers", transfers::list)
            .summary("List the 100 latest transfers from or to a user, newest first."),
        key(Read, "GET", "/v1/transfers/{transfer_id}", transfers::show).summary("Get a transfer."),
        key(Support, "POST", "/v1/transfers/{transfer_id}/undo", transfers::undo).summary(
            "Undo a transfer with a new transfer. 409 if it was already undone, or if one of its customers has moved \
             again since.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/transfer-reviews", reviews::list).summary(
            "List pending transfer reviews, oldest first: logins on devices that have another customer's purchases.",
        ),
        key(Read, "GET", "/v1/transfer-reviews/{review_id}", reviews::show)
            .summary("Get a transfer review, pending or decided."),
        key(Support, "POST", "/v1/transfer-reviews/{review_id}/approve", reviews::approve).summary(
            "Approve a transfer review: the purchases move to the customer who logged in, now and at later logins. 409 \
             if it is already approved.",
        ),
        key(Support, "POST", "/v1/transfer-reviews/{review_id}/refuse", reviews::refuse).summary(
            "Refuse a transfer review: the purchases stay with their owner, now and at later logins. 409 if it is \
             already refused.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/customers/state", customer_state::show)
            .summary("Get a customer's current access or, with `at`, the access that had been announced by that time."),
        key(Read, "GET", "/v1/apps/{app_id}/customers/{user_id}", customer_detail::detail).summary(
            "Get a customer with ids, devices, access, purchases, payments, transfers and warnings, as data and in \
             sentences.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/customers/{user_id}/access", customer_day::show)
            .summary("Get a customer's access at the end of a day (UTC), and the destinations that received it late."),
        key(Read, "GET", "/v1/apps/{app_id}/customers/{user_id}/explain", explain::customer::show)
            .summary("Explain why a destination did or did not receive the latest events of a type about a customer."),
        key(Admin, "POST", "/v1/apps/{app_id}/customers/erase", erasure::erase).summary(
            "Erase a customer: remove the names and ids that identify them, and request the user's deletion at \
             destinations. The ledger is kept.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/customers/erase/{erasure_id}", erasure::show)
            .summary("Get the report of an erasure."),
    ]
}

fn catalogue_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/apps/{app_id}/entitlements", catalogue::entitlements)
            .summary("List an app's entitlements, ordered by reference id."),
        key(Read, "GET", "/v1/apps/{app_id}/entitlements/{ref}", catalogue::entitlement).summary("Get an entitlement."),
        key(Operator, "PUT", "/v1/apps/{app_id}/entitlements/{ref}", catalogue::set_entitlement)
            .summary("Create or rename an entitlement."),
        key(Operator, "DELETE", "/v1/apps/{app_id}/entitlements/{ref}", catalogue::delete_entitlement)
            .summary("Delete an entitlement and remove it from all products."),
        key(Read, "GET", "/v1/apps/{app_id}/products", catalogue::products)
            .summary("List an app's products, ordered by SKU."),
        key(Read, "GET", "/v1/apps/{app_id}/products/{sku}", catalogue::shown_product).summary("Get a product."),
        key(Operator, "PUT", "/v1/apps/{app_id}/products/{sku}", catalogue::set_product)
            .summary("Create or replace a product."),
        key(Operator, "DELETE", "/v1/apps/{app_id}/products/{sku}", catalogue::delete_product)
            .summary("Delete a product."),
        key(Read, "GET", "/v1/apps/{app_id}/catalogue", catalogue::show)
            .summary("Get all entitlements and products, in the format that PUT accepts."),
        key(Operator, "PUT", "/v1/apps/{app_id}/catalogue", catalogue::replace).summary(
            "Replace all entitlements and products. Entitlements with an unchanged reference id keep their id.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/catalogue/unmapped", catalogue::unmapped)
            .summary("List the SKUs that were purchased but are not in the catalogue, most purchased first."),
        key(Read, "GET", "/v1/apps/{app_id}/rates", rates::list)
            .summary("List a currency's exchange rates, oldest day first."),
        key(Operator, "PUT", "/v1/apps/{app_id}/rates", rates::put)
            .summary("Add exchange rates, replacing any for the same day and currency."),
        key(Operator, "POST", "/v1/apps/{app_id}/sales", sales::import).summary(
            "Import a store's sales report, or a part of one that includes the header line. Imports all lines or, if \
             one is invalid, none.",
        ),
    ]
}

fn platform_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/stores", forms::stores).summary(
            "List the stores with their platform forms: fields in display order, and setup steps in the store's \
             console.",
        ),
        key(Read, "GET", "/v1/platforms/{platform_id}", platforms::show).summary("Get a platform."),
        key(Operator, "PATCH", "/v1/platforms/{platform_id}", platforms::update)
            .summary("Update the given fields of a platform."),
        key(Operator, "DELETE", "/v1/platforms/{platform_id}", platforms::delete).summary(
            "Delete a platform. Its notification URL stops working within a second; its records stay in the ledger.",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/rotate-ingress-key", platforms::rotate)
            .summary("Replace the notification URL. The old one keeps working until the overlap ends."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/retire-old-ingress-key", platforms::retire_old)
            .summary("Retire the old notification URL, effective within a second."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/rotate-publishable-key", platforms::rotate_publishable)
            .summary("Replace the publishable key. The old one stops working immediately, in every installed app."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/login-secret", platforms::set_login_secret).summary(
            "Require device logins to have a token signed by the app's own server. The signing secret is returned in \
             this response only.",
        ),
        key(Operator, "DELETE", "/v1/platforms/{platform_id}/login-secret", platforms::remove_login_secret)
            .summary("Stop requiring a token for device logins."),
        key(Support, "POST", "/v1/platforms/{platform_id}/retry-parked", platforms::retry_parked).summary(
            "Retry verification of parked purchases: those that the store did not know or attributed to another \
             customer.",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/sample", samples::send).summary(
            "Send a signed sample notification, as the store would. 409 unless the service is a `settle run` that \
             accepts samples.",
        ),
        key(Read, "GET", "/v1/platforms/{platform_id}/import", import::show).summary(
            "Get the progress of an import: the number of waiting purchases, and of finished ones by outcome.",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/import", import::start)
            .summary("Import purchases made before the platform was connected. Known purchases do not change."),
        key(Read, "GET", "/v1/platforms/{platform_id}/arrivals", arrivals::show).summary(
            "Get counts and times of the store's accepted and refused messages, with the reasons for refusals.",
        ),
        key(Read, "GET", "/v1/platforms/{platform_id}/steps", setup::list).summary(
            "List a platform's setup steps at its store, each with what was last seen of it and what to do next.",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/try-access", setup::try_access).summary(
            "Query the store with the platform's credentials at once, even if it refused them; the steps show the result. \
             409 without credentials, 422 if the store is queried about purchases only, 429 after too many queries.",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/test", setup::request_test).summary(
            "Request a test notification of the store; the steps show it arriving. 409 if the platform has no credentials \
             or the store refuses them, 422 if the store sends none on request, 429 after too many queries.",
        ),
        key(Read, "GET", "/v1/platforms/{platform_id}/topics", topics::list)
            .summary("List a platform's topics with their states, oldest first."),
        key(Read, "GET", "/v1/platforms/{platform_id}/duties", duties::list)
            .summary("List a platform's open duties to its store, earliest deadline first."),
        key(Support, "POST", "/v1/duties/{duty_id}/close", duties::close)
            .summary("Close a duty that was done outside settle. settle itself answers no question of a store."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/topics/{topic_id}/approve", topics::approve).summary(
            "Approve a topic: confirm its subscription and release its waiting notifications. 409 if the topic is not \
             pending.",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/topics/{topic_id}/reject", topics::reject).summary(
            "Reject a topic and its waiting notifications. 409 if it was already rejected, or was decided in the \
             meantime.",
        ),
    ]
}

fn ledger_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/purchases", purchases::list).summary(
            "List purchases, most recently settled first. A page may have fewer than `limit` items and still have a \
             `next_cursor`.",
        ),
        key(Read, "GET", "/v1/purchases/{collapse_key}", purchases::show)
            .summary("Get a purchase with its delivery lanes and its open workflow run."),
        key(Read, "GET", "/v1/purchases/{collapse_key}/notifications", purchases::notifications)
            .summary("List a purchase's notifications, newest first."),
        key(Support, "POST", "/v1/purchases/{collapse_key}/flush", purchases::flush)
            .summary("Settle a purchase without waiting for its window to end. A hold still applies."),
        key(Support, "POST", "/v1/purchases/{collapse_key}/hold", purchases::hold)
            .summary("Hold a purchase: stop settling it until the hold expires or is released. Deliveries continue."),
        key(Support, "POST", "/v1/purchases/{collapse_key}/release", purchases::release)
            .summary("Release the hold on a purchase."),
        key(Operator, "POST", "/v1/purchases/{collapse_key}/discard", purchases::discard)
            .summary("Discard a purchase's unsettled notifications."),
        key(Read, "GET", "/v1/payments", payments::list)
            .summary("List the payments of a purchase or a customer, with refunds and corrections, newest first."),
        key(Read, "GET", "/v1/notifications", notifications::list).summary(
            "List notifications, newest first. A page may have fewer than `limit` items and still have a \
             `next_cursor`.",
        ),
        key(Read, "GET", "/v1/notifications/{message_id}", notifications::show)
            .summary("Get a store's message with the outcomes of its notifications."),
        key(Read, "GET", "/v1/alarms", alarms::list).summary(
            "List alarms, most recently raised first. Repeated alarms are counted. A page may have fewer than `limit` \
             items and still have a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/alarms/{alarm_id}", alarms::show).summary("Get an alarm."),
        key(Support, "POST", "/v1/alarms/{alarm_id}/acknowledge", alarms::acknowledge)
            .summary("Acknowledge an alarm. It reopens if it is raised again."),
        key(Read, "GET", "/v1/events", events::list).summary(
            "List events, newest first. A page may have fewer than `limit` items and still have a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/events/{event_id}", events::show).summary("Get an event with its body."),
        key(Read, "GET", "/v1/deliveries", deliveries::list).summary(
            "List deliveries, newest first. A page may have fewer than `limit` items and still have a \
             `next_cursor`.",
        ),
        key(Read, "GET", "/v1/deliveries/{delivery_id}", deliveries::show).summary("Get a delivery."),
        key(Read, "GET", "/v1/deliveries/{delivery_id}/attempts", deliveries::attempts)
            .summary("List a delivery's attempts, oldest first."),
        key(Support, "GET", "/v1/deliveries/{delivery_id}/request", deliveries::request).summary(
            "Get the body of a delivery's request and the names of its headers, without signatures or secrets.",
        ),
        key(Read, "GET", "/v1/device-events", device_events::list).summary(
            "List the events that devices reported, newest first, with their deliveries. A page may have fewer than \
             `limit` items and still have a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/device-events/{event_id}", device_events::show)
            .summary("Get an event that a device reported, with its body."),
    ]
}

fn diagnostic_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/explain/notifications/{message_id}", explain::notification)
            .summary("Explain a store's message: its outcome and the events that followed, in sentences and as data."),
        key(Read, "GET", "/v1/explain/purchases/{collapse_key}", explain::purchase)
            .summary("Explain a purchase: its notifications, the events that followed, and their deliveries."),
        key(Read, "GET", "/v1/explain/events/{event_id}", explain::event).summary(
            "Explain an event: its cause, the destinations that received it, and those that did not, with the \
             reasons.",
        ),
        key(Read, "GET", "/v1/explain/destinations/{destination_id}", explain::destination)
            .summary("Explain a destination: the results of its requests, and its pending and failed deliveries."),
        key(Read, "GET", "/v1/series", series::list)
            .summary("Get counts per minute or longer step across all processes. The latest step may be incomplete."),
        key(Read, "GET", "/v1/audit-log", audit_log::list).summary(
            "List changes by people, keys and scripts, newest first. A page may have fewer than `limit` items and \
             still have a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/check", check::show).summary(
            "Check the tables for consistency: as many rows as can be checked in a few seconds, or `limit` rows of one \
             table.",
        ),
        key(Read, "GET", "/v1/check/revenue", check::revenue)
            .summary("Compare the revenue sent to each integration with the ledger, for one page of purchases."),
        key(Support, "POST", "/v1/resends", resends::create).summary(
            "Resend one page of a selection of events or purchase states. Of a purchase's states, only the latest is \
             queued. 422 if states are selected but the destination is not subscribed to `purchase.updated`; a \
             destination that maintains profiles accepts `missing` nevertheless. A page may queue nothing and still \
             have a `next_cursor`.",
        ),
    ]
}

fn open<H, T, Parts>(method: &'static str, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Shared> + Described<Parts>,
    T: 'static,
{
    Route {
        access: Access::Open,
        ..key(Admin, method, path, handler)
    }
}

fn device<H, T, Parts>(method: &'static str, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Shared> + Described<Parts>,
    T: 'static,
{
    Route {
        access: Access::Device,
        is_public: true,
        ..key(Admin, method, path, handler)
    }
}

fn key<H, T, Parts>(least: Role, method: &'static str, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Shared> + Described<Parts>,
    T: 'static,
{
    Route::key(least, method, path, handler)
}
