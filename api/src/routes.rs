//! Every route of the service with its access, in one list.

use crate::edge::Shared;
use crate::openapi::{self, Documents};
use crate::operation::Described;
use crate::pages;
use crate::resources::{
    about, alarms, apps, arrivals, audit_log, catalogue, check, customer_detail, customer_state,
    customers, deliveries, destinations, device_events, devices, document, erasure, events,
    explain, feed, forms, health, import, keys, live, metrics, naming, notifications, overview,
    payments, platforms, purchases, rates, resends, reviews, sales, samples, schema, search,
    series, sign_ins, stores, topics, transfers,
};
use crate::route::{Access, Route};
use axum::handler::Handler;
use std::sync::LazyLock;
use storage::Role::{self, Admin, Metrics, Operator, Read, Support};

/// The OpenAPI documents of all routes. Each is generated on first use.
pub static DOCUMENTS: Documents = Documents {
    whole: LazyLock::new(|| openapi::document(routes())),
    device: LazyLock::new(|| openapi::part(&DOCUMENTS.whole, &routes(), Access::Device)),
};

pub fn routes() -> Vec<Route> {
    let mut all = service_routes();
    all.extend(app_routes());
    all.extend(key_routes());
    all.extend(destination_routes());
    all.extend(customer_routes());
    all.extend(catalogue_routes());
    all.extend(platform_routes());
    all.extend(ledger_routes());
    all.extend(accounting_routes());
    all.extend(pages::routes());
    all
}

fn service_routes() -> Vec<Route> {
    vec![
        open("GET", "/livez", health::live).public().summary("Whether the process answers."),
        open("GET", "/readyz", health::ready)
            .summary("200 while the inbox accepts and no key is missing; the engine's state in the body."),
        key(Metrics, "GET", "/metrics", metrics::show).summary("Metrics in the Prometheus text format."),
        open("GET", "/openapi.json", document::show).summary("This document."),
        open("GET", "/openapi/device.json", document::device)
            .public()
            .summary("The routes of this document that apps on devices call, and nothing else."),
        open("GET", "/api/v1/events/schema/", schema::index)
            .public()
            .summary("The events that are sent, and their schemas."),
        open("GET", "/api/v1/events/schema/{type}", schema::show).public().summary("The JSON Schema of one event."),
        open("POST", "/v1/stores/{store}/{ingress_key}", stores::receive)
            .public()
            .summary("A store's message. 200 means that it is durably stored."),
        device("POST", "/v1/device/events", devices::report).summary(
            "Events of an app on a device; the first report creates the device and sets its secret. 200 means that they are \
             durably stored; wrong ones are named, and left out.",
        ),
        device("POST", "/v1/device/login", devices::login).summary(
            "A customer logs in on a device: what the device has verified claims of becomes theirs. 403 where the \
             platform takes signed logins alone and `token` does not prove it.",
        ),
        device("POST", "/v1/device/logout", devices::logout)
            .summary("Nobody is logged in on the device any more; purchases stay with the customer."),
        device("GET", "/v1/device/entitlements", devices::entitlements)
            .summary("What a device may use; nothing for an unknown one."),
    ]
}

fn app_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/apps", apps::list).summary("All apps, the oldest first."),
        key(Admin, "POST", "/v1/apps", apps::create).summary("Creates an app."),
        key(Read, "GET", "/v1/apps/{app_id}", apps::show).summary("One app."),
        key(Operator, "PATCH", "/v1/apps/{app_id}", apps::update).summary("Renames an app."),
        key(Admin, "DELETE", "/v1/apps/{app_id}", apps::delete).summary("Deletes an app; the ledger stays."),
        key(Read, "GET", "/v1/apps/{app_id}/platforms", platforms::list).summary("The app's platforms."),
        key(Operator, "POST", "/v1/apps/{app_id}/platforms", platforms::create).summary("Connects the app to a store."),
        key(Read, "GET", "/v1/apps/{app_id}/destinations", destinations::list).summary("The app's destinations."),
        key(Operator, "POST", "/v1/apps/{app_id}/destinations", destinations::create)
            .summary("Creates a destination; the only response that contains its secret."),
        key(Read, "GET", "/v1/apps/{app_id}/feed", feed::list).summary(
            "Each purchase once, in the order of the keys: its revision, and the digest of its latest \
             state.",
        ),
    ]
}

fn key_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/about", about::show)
            .summary("The version, and for administrators of all apps the settings, without secrets."),
        key(Read, "GET", "/v1/overview", overview::show)
            .summary("How everything stands, in numbers: what waits, what is pending, what failed."),
        key(Read, "POST", "/v1/search", search::find)
            .as_query()
            .summary("What an id names, of ours, of the store or of the customer. Changes nothing."),
        key(Read, "GET", "/v1/live", live::show)
            .summary("Server-sent events: an event for each kind of thing that changed, without data."),
        key(Admin, "GET", "/v1/sign-ins", sign_ins::list)
            .summary("Who is or was signed in to the page, the oldest first."),
        key(Admin, "DELETE", "/v1/sign-ins/{sign_in_id}", sign_ins::finish).summary("Signs a person out."),
        key(Admin, "POST", "/v1/sign-in-links", sign_ins::link)
            .summary("A link that signs a person in to the page, once and within ten minutes."),
        key(Metrics, "GET", "/v1/caller", keys::caller).summary("Whose key the request has, and what it may do."),
        key(Admin, "GET", "/v1/keys", keys::list)
            .summary("The keys of the API, the oldest first, without their secrets."),
        key(Admin, "POST", "/v1/keys", keys::create).summary("Creates a key; the only response that contains it."),
        key(Admin, "GET", "/v1/keys/{key_id}", keys::show).summary("One key, without its secret."),
        key(Admin, "DELETE", "/v1/keys/{key_id}", keys::revoke)
            .summary("Revokes a key: it opens nothing from now on. Its row stays, for the audit log names it."),
    ]
}

fn destination_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/destinations/kinds", forms::destinations)
            .summary("The form of each kind of destination: its fields for people, in their order, and what to do at the other side."),
        key(Read, "GET", "/v1/destinations/{destination_id}", destinations::show)
            .summary("One destination with its health and what is pending for it."),
        key(Operator, "PATCH", "/v1/destinations/{destination_id}", destinations::update)
            .summary("Changes the given fields. A secret that this adds is shown only here."),
        key(Operator, "DELETE", "/v1/destinations/{destination_id}", destinations::delete)
            .summary("Deletes a destination; the ledger stays."),
        key(Operator, "POST", "/v1/destinations/{destination_id}/rotate-secret", destinations::rotate).summary(
            "Replaces what requests are signed with; the only response that contains the new secret. 422 when its \
             kind signs nothing.",
        ),
        key(Support, "POST", "/v1/destinations/{destination_id}/test", destinations::test).summary(
            "Sends one request that carries no event, or a made-up one. 200 whether it works or not; 409 when something \
             is missing for it, and nothing is sent. 429 after too many tests that people get.",
        ),
        key(Operator, "POST", "/v1/destinations/{destination_id}/enable", destinations::enable)
            .summary("Sends again, by a signal to its workflow. 409 for `newest_only` when it is enabled."),
        key(Operator, "POST", "/v1/destinations/{destination_id}/disable", destinations::disable)
            .summary("Sends nothing any more, by a signal to its workflow; what is pending stays pending."),
        key(Support, "POST", "/v1/destinations/{destination_id}/probe", destinations::probe)
            .summary("Tests now whether it answers again, by a signal to its workflow. 409 when it is disabled."),
        key(Support, "POST", "/v1/destinations/{destination_id}/retry", destinations::retry).summary(
            "Sends what is pending now: back-offs and a pause end, and an open breaker is tried. 409 when it is disabled.",
        ),
    ]
}

fn customer_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/apps/{app_id}/customers", customers::show)
            .summary("One customer, by exactly one of the three."),
        key(Support, "PUT", "/v1/apps/{app_id}/customers", naming::name).summary(
            "Names a customer of the store, or a receipt's owner, by the customer's own id, and merges them with another \
             customer who has it; 409 when they have another name, or when `merge` or `preview` refuses it.",
        ),
        key(Support, "POST", "/v1/apps/{app_id}/customers/move", transfers::move_customer).summary(
            "Moves a customer with all purchases to the user with another external id; 409 when they belong to that \
             user already, or when `create` or `preview` refuses it.",
        ),
        key(Support, "POST", "/v1/apps/{app_id}/customers/move/preview", transfers::preview_move)
            .as_query()
            .summary("What such a move would do."),
        key(Read, "GET", "/v1/transfers", transfers::list)
            .summary("The hundred latest transfers from and to a user, newest first."),
        key(Read, "GET", "/v1/transfers/{transfer_id}", transfers::show).summary("One transfer."),
        key(Support, "POST", "/v1/transfers/{transfer_id}/undo", transfers::undo).summary(
            "Gives the purchases of a transfer back, by another one; 409 when that was done, or when a customer has moved \
             on since.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/transfer-reviews", reviews::list).summary(
            "The logins on devices with receipts of another customer that a person has to answer, the oldest first.",
        ),
        key(Read, "GET", "/v1/transfer-reviews/{review_id}", reviews::show).summary("One of them, answered or not."),
        key(Support, "POST", "/v1/transfer-reviews/{review_id}/approve", reviews::approve).summary(
            "Moves the purchases to the customer who logged in, now and at later logins; 409 when it is approved already.",
        ),
        key(Support, "POST", "/v1/transfer-reviews/{review_id}/refuse", reviews::refuse).summary(
            "Leaves the purchases with their owner, now and at later logins; 409 when it is refused already.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/customers/state", customer_state::show)
            .summary("What a customer may use now; with `at`, what was known and announced of them at that time."),
        key(Read, "GET", "/v1/apps/{app_id}/customers/{user_id}", customer_detail::detail)
            .summary("One customer with names, devices, purchases, what these give now, and how each stands in words."),
        key(Admin, "POST", "/v1/apps/{app_id}/customers/erase", erasure::erase).summary(
            "Erases a customer: the names are removed, the ledger stays, destinations get a request to delete the user.",
        ),
        key(Read, "GET", "/v1/apps/{app_id}/customers/erase/{erasure_id}", erasure::show)
            .summary("The report of what was done to erase a customer."),
    ]
}

fn catalogue_routes() -> Vec<Route> {
    vec![
        key(
            Read,
            "GET",
            "/v1/apps/{app_id}/entitlements",
            catalogue::entitlements,
        )
        .summary("The app's entitlements, by reference id."),
        key(
            Read,
            "GET",
            "/v1/apps/{app_id}/entitlements/{ref}",
            catalogue::entitlement,
        )
        .summary("One entitlement."),
        key(
            Operator,
            "PUT",
            "/v1/apps/{app_id}/entitlements/{ref}",
            catalogue::set_entitlement,
        )
        .summary("Adds an entitlement, or renames it."),
        key(
            Operator,
            "DELETE",
            "/v1/apps/{app_id}/entitlements/{ref}",
            catalogue::delete_entitlement,
        )
        .summary("Deletes an entitlement, and removes it from all products."),
        key(
            Read,
            "GET",
            "/v1/apps/{app_id}/products",
            catalogue::products,
        )
        .summary("The app's products, by SKU."),
        key(
            Read,
            "GET",
            "/v1/apps/{app_id}/products/{sku}",
            catalogue::shown_product,
        )
        .summary("One product."),
        key(
            Operator,
            "PUT",
            "/v1/apps/{app_id}/products/{sku}",
            catalogue::set_product,
        )
        .summary("Adds a product, or replaces it."),
        key(
            Operator,
            "DELETE",
            "/v1/apps/{app_id}/products/{sku}",
            catalogue::delete_product,
        )
        .summary("Deletes a product."),
        key(Read, "GET", "/v1/apps/{app_id}/catalogue", catalogue::show)
            .summary("All entitlements and products, as PUT takes them."),
        key(
            Operator,
            "PUT",
            "/v1/apps/{app_id}/catalogue",
            catalogue::replace,
        )
        .summary(
            "Replaces all entitlements and products; ids stay the same for the same reference ids.",
        ),
        key(
            Read,
            "GET",
            "/v1/apps/{app_id}/catalogue/unmapped",
            catalogue::unmapped,
        )
        .summary("SKUs that were bought and are not in the catalogue, the most bought first."),
        key(Read, "GET", "/v1/apps/{app_id}/rates", rates::list)
            .summary("The rates of a currency, the oldest day first."),
        key(Operator, "PUT", "/v1/apps/{app_id}/rates", rates::put)
            .summary("Adds rates of exchange, in the place of those of the same day and currency."),
        key(Operator, "POST", "/v1/apps/{app_id}/sales", sales::import).summary(
            "Imports a store's sales report, or a part of it with the header line: all \
             or nothing.",
        ),
    ]
}

fn platform_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/stores", forms::stores)
            .summary("The form of a platform of each store, and the steps at the store."),
        key(Read, "GET", "/v1/platforms/{platform_id}", platforms::show).summary("One platform."),
        key(Operator, "PATCH", "/v1/platforms/{platform_id}", platforms::update).summary("Changes the given fields."),
        key(Operator, "DELETE", "/v1/platforms/{platform_id}", platforms::delete)
            .summary("Deletes a platform; its notification URL ends within a second, the ledger stays."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/rotate-ingress-key", platforms::rotate)
            .summary("A new notification URL; the old one takes messages until the overlap ends."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/retire-old-ingress-key", platforms::retire_old)
            .summary("Retires the previous notification URL; takes effect within a second."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/rotate-publishable-key", platforms::rotate_publishable)
            .summary("A new key for devices; the old one ends at once, in every copy of the app that has it."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/login-secret", platforms::set_login_secret).summary(
            "Logins on devices need a token of the app's own server from now on; the only response that contains the \
             secret that signs it.",
        ),
        key(Operator, "DELETE", "/v1/platforms/{platform_id}/login-secret", platforms::remove_login_secret)
            .summary("Logins on devices need no token any more."),
        key(Support, "POST", "/v1/platforms/{platform_id}/retry-parked", platforms::retry_parked)
            .summary("Verifies again the purchases that the store did not know, or that belong to another customer."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/sample", samples::send).summary(
            "Sends a signed sample, as the store would. 409 unless `settle run` trusts its own samples there.",
        ),
        key(Read, "GET", "/v1/platforms/{platform_id}/import", import::show)
            .summary("The number of adopted purchases that wait, and of the others by outcome."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/import", import::start)
            .summary("Adopts purchases from before the platform was connected; known ones are not changed."),
        key(Read, "GET", "/v1/platforms/{platform_id}/arrivals", arrivals::show)
            .summary("When the store's messages were accepted and refused last, why, and how often."),
        key(Read, "GET", "/v1/platforms/{platform_id}/topics", topics::list)
            .summary("The topics that may send or wait for approval."),
        key(Operator, "POST", "/v1/platforms/{platform_id}/topics/{topic_id}/approve", topics::approve).summary(
            "Confirms the subscription and releases what waited; 409 when the topic is not pending (any \
             more).",
        ),
        key(Operator, "POST", "/v1/platforms/{platform_id}/topics/{topic_id}/reject", topics::reject)
            .summary("Refuses the topic and what waited; 409 when it is rejected already, or was decided meanwhile."),
    ]
}

fn ledger_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/purchases", purchases::list).summary(
            "Purchases, the last settled first. A page may have fewer than `limit` items and still a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/purchases/{collapse_key}", purchases::show)
            .summary("One purchase, its lanes and its open run."),
        key(Read, "GET", "/v1/purchases/{collapse_key}/notifications", purchases::notifications)
            .summary("Its notifications, the newest first."),
        key(Support, "POST", "/v1/purchases/{collapse_key}/flush", purchases::flush)
            .summary("Settles now; never through a hold."),
        key(Support, "POST", "/v1/purchases/{collapse_key}/hold", purchases::hold)
            .summary("Stops settling for a while; deliveries go on."),
        key(Support, "POST", "/v1/purchases/{collapse_key}/release", purchases::release).summary("Ends a hold."),
        key(Operator, "POST", "/v1/purchases/{collapse_key}/discard", purchases::discard)
            .summary("Ends the notifications accepted until now without recording them."),
        key(Read, "GET", "/v1/payments", payments::list)
            .summary("The payments of a purchase or a customer with their refunds and corrections, the newest first."),
        key(Read, "GET", "/v1/notifications", notifications::list)
            .summary("Notifications, the newest first. A page may have fewer than `limit` items and still a `next_cursor`."),
        key(Read, "GET", "/v1/notifications/{message_id}", notifications::show).summary("The outcome of a message."),
        key(Read, "GET", "/v1/alarms", alarms::list).summary(
            "Alarms, which need a person's attention, the last raised first; repetitions are counted. A page may have fewer \
             than `limit` items and still a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/alarms/{alarm_id}", alarms::show).summary("One alarm."),
        key(Support, "POST", "/v1/alarms/{alarm_id}/acknowledge", alarms::acknowledge)
            .summary("Notes that a person knows of an alarm. Raised again, it is open again."),
        key(Read, "GET", "/v1/events", events::list)
            .summary("Events, the newest first. A page may have fewer than `limit` items and still a `next_cursor`."),
        key(Read, "GET", "/v1/events/{event_id}", events::show).summary("One event with its body."),
        key(Read, "GET", "/v1/deliveries", deliveries::list).summary(
            "Deliveries, the newest first. A page may have fewer than `limit` items and still a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/deliveries/{delivery_id}", deliveries::show).summary("One delivery."),
        key(Read, "GET", "/v1/deliveries/{delivery_id}/attempts", deliveries::attempts)
            .summary("Its attempts, the oldest first."),
        key(Support, "GET", "/v1/deliveries/{delivery_id}/request", deliveries::request)
            .summary("Its body as it is sent, and the names of its headers; no signature and no secret."),
        key(Read, "GET", "/v1/device-events", device_events::list).summary(
            "Events that devices reported, the newest first, each with what was queued of it for destinations. A page may \
             have fewer than `limit` items and still a `next_cursor`.",
        ),
        key(Read, "GET", "/v1/device-events/{event_id}", device_events::show)
            .summary("One event that a device reported, with its body."),
    ]
}

fn accounting_routes() -> Vec<Route> {
    vec![
        key(Read, "GET", "/v1/explain/notifications/{message_id}", explain::notification)
            .summary("The outcome of a message and the events that followed, as sentences and as data."),
        key(Read, "GET", "/v1/explain/purchases/{collapse_key}", explain::purchase)
            .summary("The notifications of a purchase, the events that followed, and their deliveries."),
        key(Read, "GET", "/v1/explain/events/{event_id}", explain::event)
            .summary("What caused an event, which destinations received it, which did not, and why."),
        key(Read, "GET", "/v1/explain/destinations/{destination_id}", explain::destination)
            .summary("The results of requests to a destination, what is pending for it and what failed."),
        key(Read, "GET", "/v1/series", series::list)
            .summary("What was counted in each minute, over all processes: of the last minute up to all is missing."),
        key(Read, "GET", "/v1/audit-log", audit_log::list)
            .summary(
                "What persons, keys and scripts changed, the newest first. A page may have fewer than `limit` items and \
                 still a `next_cursor`.",
            ),
        key(Read, "GET", "/v1/check", check::show)
            .summary("Whether the tables agree with each other: as many rows as some seconds allow, or `limit` rows of one table."),
        key(Read, "GET", "/v1/check/revenue", check::revenue).summary(
            "The money that was sent to each integration that counts, compared with the ledger, of the next \
             purchases.",
        ),
        key(Support, "POST", "/v1/resends", resends::create).summary(
            "Queues a page of what is selected again; of a purchase's states always the latest. 422 for states to a \
             destination that did not choose purchase.updated, but for `missing` to one that keeps profiles. A page may \
             check nothing, and yet have a `next_cursor`.",
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
