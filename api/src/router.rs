//! Every route of the service, in one list, and who may use it.

use crate::edge::Shared;
use crate::error::Error;
use crate::resources::{
    alarms, apps, audit, catalogue, customers, deliveries, destinations, events, explain, feed, import, notifications,
    platforms, purchases, rates, redeliveries, sales, schema, stores, topics,
};
use crate::{health, metrics, openapi};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use openssl::memcmp;
use secrecy::ExposeSecret;
use std::time::Duration;

/// The largest body that is read.
const BODY_LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// How long one request may take in all.
const PATIENCE: Duration = Duration::from_secs(25);

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who can reach it.
    Open,
    /// Who shows the admin token.
    Admin,
}

/// One route.
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    handler: MethodRouter<Shared>,
}

/// The whole service.
pub fn router(edge: Shared) -> Router {
    let (mut open, mut admin) = (Router::new(), Router::new());
    for route in routes() {
        match route.access {
            Access::Open => open = open.route(route.path, route.handler),
            Access::Admin => admin = admin.route(route.path, route.handler),
        }
    }
    open.merge(admin.route_layer(from_fn_with_state(edge.clone(), authorize)))
        .method_not_allowed_fallback(|| async { Error::Method })
        .fallback(|| async { Error::Missing("there is no such path; /openapi.json lists them".to_owned()) })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(from_fn(in_time))
        .with_state(edge)
}

/// All routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let mut all = service_routes();
    all.extend(app_routes());
    all.extend(destination_routes());
    all.extend(catalogue_routes());
    all.extend(platform_routes());
    all.extend(ledger_routes());
    all.extend(accounting_routes());
    all
}

fn service_routes() -> Vec<Route> {
    vec![
        open("GET", "/livez", get(health::live)),
        open("GET", "/readyz", get(health::ready)),
        open("GET", "/metrics", get(metrics::show)),
        open("GET", "/openapi.json", get(openapi::show)),
        open("GET", "/api/v1/events/schema/", get(schema::index)),
        open("GET", "/api/v1/events/schema/{type}", get(schema::show)),
        open("POST", "/v1/stores/{store}/{ingress_key}", post(stores::receive)),
    ]
}

fn app_routes() -> Vec<Route> {
    vec![
        admin("GET", "/v1/apps", get(apps::list)),
        admin("POST", "/v1/apps", post(apps::create)),
        admin("GET", "/v1/apps/{app_id}", get(apps::show)),
        admin("PATCH", "/v1/apps/{app_id}", patch(apps::update)),
        admin("DELETE", "/v1/apps/{app_id}", delete(apps::delete)),
        admin("GET", "/v1/apps/{app_id}/platforms", get(platforms::list)),
        admin("POST", "/v1/apps/{app_id}/platforms", post(platforms::create)),
        admin("GET", "/v1/apps/{app_id}/destinations", get(destinations::list)),
        admin("POST", "/v1/apps/{app_id}/destinations", post(destinations::create)),
        admin("GET", "/v1/apps/{app_id}/feed", get(feed::list)),
    ]
}

fn destination_routes() -> Vec<Route> {
    vec![
        admin("GET", "/v1/destinations/{destination_id}", get(destinations::show)),
        admin("PATCH", "/v1/destinations/{destination_id}", patch(destinations::update)),
        admin("DELETE", "/v1/destinations/{destination_id}", delete(destinations::delete)),
        admin("POST", "/v1/destinations/{destination_id}/rotate-secret", post(destinations::rotate)),
        admin("POST", "/v1/destinations/{destination_id}/test", post(destinations::test)),
        admin("POST", "/v1/destinations/{destination_id}/enable", post(destinations::enable)),
        admin("POST", "/v1/destinations/{destination_id}/disable", post(destinations::disable)),
        admin("POST", "/v1/destinations/{destination_id}/probe", post(destinations::probe)),
        admin("POST", "/v1/destinations/{destination_id}/retry", post(destinations::retry)),
        admin("POST", "/v1/destinations/{destination_id}/redeliver", post(destinations::redeliver)),
        admin("POST", "/v1/destinations/{destination_id}/snapshot", post(destinations::snapshot)),
        admin("POST", "/v1/destinations/{destination_id}/replay", post(destinations::replay)),
    ]
}

fn catalogue_routes() -> Vec<Route> {
    vec![
        admin("GET", "/v1/apps/{app_id}/customers", get(customers::show)),
        admin("PUT", "/v1/apps/{app_id}/customers", put(customers::name)),
        admin("GET", "/v1/apps/{app_id}/entitlements", get(catalogue::entitlements)),
        admin("GET", "/v1/apps/{app_id}/entitlements/{ref}", get(catalogue::entitlement)),
        admin("PUT", "/v1/apps/{app_id}/entitlements/{ref}", put(catalogue::set_entitlement)),
        admin("DELETE", "/v1/apps/{app_id}/entitlements/{ref}", delete(catalogue::delete_entitlement)),
        admin("GET", "/v1/apps/{app_id}/products", get(catalogue::products)),
        admin("GET", "/v1/apps/{app_id}/products/{sku}", get(catalogue::shown_product)),
        admin("PUT", "/v1/apps/{app_id}/products/{sku}", put(catalogue::set_product)),
        admin("DELETE", "/v1/apps/{app_id}/products/{sku}", delete(catalogue::delete_product)),
        admin("GET", "/v1/apps/{app_id}/catalogue", get(catalogue::show)),
        admin("PUT", "/v1/apps/{app_id}/catalogue", put(catalogue::replace)),
        admin("GET", "/v1/apps/{app_id}/catalogue/unmapped", get(catalogue::unmapped)),
        admin("GET", "/v1/apps/{app_id}/rates", get(rates::list)),
        admin("PUT", "/v1/apps/{app_id}/rates", put(rates::put)),
        admin("POST", "/v1/apps/{app_id}/sales", post(sales::import)),
    ]
}

fn platform_routes() -> Vec<Route> {
    vec![
        admin("GET", "/v1/platforms/{platform_id}", get(platforms::show)),
        admin("PATCH", "/v1/platforms/{platform_id}", patch(platforms::update)),
        admin("DELETE", "/v1/platforms/{platform_id}", delete(platforms::delete)),
        admin("POST", "/v1/platforms/{platform_id}/rotate-ingress-key", post(platforms::rotate)),
        admin("POST", "/v1/platforms/{platform_id}/retry-parked", post(platforms::retry_parked)),
        admin("GET", "/v1/platforms/{platform_id}/import", get(import::show)),
        admin("POST", "/v1/platforms/{platform_id}/import", post(import::start)),
        admin("GET", "/v1/platforms/{platform_id}/topics", get(topics::list)),
        admin("POST", "/v1/platforms/{platform_id}/topics/{topic_id}/approve", post(topics::approve)),
        admin("POST", "/v1/platforms/{platform_id}/topics/{topic_id}/reject", post(topics::reject)),
    ]
}

fn ledger_routes() -> Vec<Route> {
    vec![
        admin("GET", "/v1/purchases", get(purchases::list)),
        admin("GET", "/v1/purchases/{collapse_key}", get(purchases::show)),
        admin("GET", "/v1/purchases/{collapse_key}/notifications", get(purchases::notifications)),
        admin("POST", "/v1/purchases/{collapse_key}/flush", post(purchases::flush)),
        admin("POST", "/v1/purchases/{collapse_key}/hold", post(purchases::hold)),
        admin("POST", "/v1/purchases/{collapse_key}/release", post(purchases::release)),
        admin("POST", "/v1/purchases/{collapse_key}/discard", post(purchases::discard)),
        admin("POST", "/v1/purchases/{collapse_key}/redeliver", post(purchases::redeliver)),
        admin("GET", "/v1/notifications", get(notifications::list)),
        admin("GET", "/v1/notifications/{message_id}", get(notifications::show)),
        admin("GET", "/v1/alarms", get(alarms::list)),
        admin("GET", "/v1/events", get(events::list)),
        admin("GET", "/v1/events/{event_id}", get(events::show)),
        admin("GET", "/v1/deliveries", get(deliveries::list)),
        admin("GET", "/v1/deliveries/{delivery_id}", get(deliveries::show)),
        admin("GET", "/v1/deliveries/{delivery_id}/attempts", get(deliveries::attempts)),
    ]
}

fn accounting_routes() -> Vec<Route> {
    vec![
        admin("GET", "/v1/explain/notifications/{message_id}", get(explain::notification)),
        admin("GET", "/v1/explain/purchases/{collapse_key}", get(explain::purchase)),
        admin("GET", "/v1/explain/events/{event_id}", get(explain::event)),
        admin("GET", "/v1/explain/destinations/{destination_id}", get(explain::destination)),
        admin("GET", "/v1/audit", get(audit::show)),
        admin("GET", "/v1/audit/revenue", get(audit::revenue)),
        admin("POST", "/v1/redeliveries", post(redeliveries::create)),
    ]
}

const fn open(method: &'static str, path: &'static str, handler: MethodRouter<Shared>) -> Route {
    Route { method, path, access: Access::Open, handler }
}

const fn admin(method: &'static str, path: &'static str, handler: MethodRouter<Shared>) -> Route {
    Route { method, path, access: Access::Admin, handler }
}

/// A body that trickles in, or a part of ours that hangs, does not hold a connection for ever.
async fn in_time(request: Request, next: Next) -> Result<Response, Error> {
    let late = |_| Error::Unavailable("the request took too long; try again".to_owned());
    tokio::time::timeout(PATIENCE, next.run(request)).await.map_err(late)
}

async fn authorize(State(edge): State<Shared>, request: Request, next: Next) -> Result<Response, Error> {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let expected = edge.admin_token.expose_secret().as_bytes();
    // Constant time for equal lengths; the length of the token is no secret. An empty token lets nobody in.
    let same = token.is_some_and(|token| token.len() == expected.len() && memcmp::eq(token.as_bytes(), expected));
    if !same || expected.is_empty() {
        return Err(Error::Unauthorized);
    }
    Ok(next.run(request).await)
}
