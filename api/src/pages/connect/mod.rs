//! Connecting a store, step by step: app, platform, the store's console, its topic, a sample, a destination, the first
//! event. Each step has its own address and names the next one. The store describes the forms and the steps in its
//! console.

mod apps;
mod changes;
mod changes_view;
mod devices;
mod listed;
mod progress;
mod sample_view;
mod steps;
mod view;

use super::Screen;
use super::act::{above, act, upper};
use super::visit::Visit;
use api::resources::{apps as api_apps, platforms, samples, setup, topics};
use api::route::Route;
use domain::AppId;
use serde_json::Value;
use storage::Role::{Admin, Operator, Read, Support};

pub const SCREEN: Screen = Screen {
    name: "Connect",
    path: "/ui/connect",
    icon: "connect",
    key: 'c',
    routes,
};

fn routes() -> Vec<Route> {
    let mut all = vec![
        Route::page(Read, "GET", "/ui/connect", apps::list)
            .summary("The apps, and how far each is connected."),
        Route::page(
            Admin,
            "POST",
            "/ui/connect",
            act(api_apps::create, apps::list)
                .body(apps::refuse_sign_in_of_app)
                .then(new_app_page),
        )
        .twin("POST /v1/apps")
        .summary("Creates an app."),
        Route::page(Read, "GET", "/ui/connect/apps/{app_id}", apps::show)
            .summary("The platforms of an app."),
        Route::page(
            Operator,
            "GET",
            "/ui/connect/apps/{app_id}/platforms/new",
            apps::new_platform,
        )
        .summary("The form of a platform."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/apps/{app_id}/platforms/new",
            apps::create_platform,
        )
        .twin("POST /v1/apps/{app_id}/platforms")
        .summary("Connects an app to a store."),
        Route::page(
            Read,
            "GET",
            "/ui/connect/platforms/{platform_id}",
            steps::console,
        )
        .summary("The URL for the store's console, and what arrived there."),
        Route::page(
            Read,
            "GET",
            "/ui/connect/platforms/{platform_id}/settings",
            changes::settings,
        )
        .summary("The settings of a platform."),
        Route::page(
            Read,
            "GET",
            "/ui/connect/platforms/{platform_id}/topics",
            steps::topics,
        )
        .summary("The topics of a platform."),
        Route::page(
            Read,
            "GET",
            "/ui/connect/platforms/{platform_id}/sample",
            steps::sample,
        )
        .summary("A sample notification."),
        Route::page(
            Read,
            "GET",
            "/ui/connect/platforms/{platform_id}/destinations",
            steps::destinations,
        )
        .summary("Who receives the events."),
        Route::page(
            Read,
            "GET",
            "/ui/connect/platforms/{platform_id}/first",
            steps::first,
        )
        .summary("The latest event on its way."),
        Route::page(
            Operator,
            "GET",
            "/ui/connect/platforms/{platform_id}/delete",
            steps::deletion,
        )
        .summary("What the deletion of a platform means."),
    ];
    all.extend(changes());
    all.extend(queries());
    all
}

fn changes() -> Vec<Route> {
    vec![
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/settings",
            changes::update,
        )
        .twin("PATCH /v1/platforms/{platform_id}")
        .summary("Changes a platform."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/topics/{topic_id}/approve",
            act(topics::approve, steps::topics).then(|visit, _| above(visit, 2)),
        )
        .twin("POST /v1/platforms/{platform_id}/topics/{topic_id}/approve")
        .summary("Lets a topic send."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/topics/{topic_id}/reject",
            act(topics::reject, steps::topics).then(|visit, _| above(visit, 2)),
        )
        .twin("POST /v1/platforms/{platform_id}/topics/{topic_id}/reject")
        .summary("Refuses a topic."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/sample",
            act(samples::send, steps::sample).then(sample_page),
        )
        .twin("POST /v1/platforms/{platform_id}/sample")
        .summary("Sends a sample."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/rotate-ingress-key",
            act(platforms::rotate, steps::console),
        )
        .twin("POST /v1/platforms/{platform_id}/rotate-ingress-key")
        .summary("Makes a new notification URL."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/retire-old-ingress-key",
            act(platforms::retire_old, steps::console),
        )
        .twin("POST /v1/platforms/{platform_id}/retire-old-ingress-key")
        .summary("Retires the previous notification URL."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/login-secret",
            act(platforms::set_login_secret, steps::console).shown_once(),
        )
        .twin("POST /v1/platforms/{platform_id}/login-secret")
        .summary("Requires signed logins; the only page with the secret."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/unsigned-logins",
            act(platforms::remove_login_secret, steps::console),
        )
        .twin("DELETE /v1/platforms/{platform_id}/login-secret")
        .summary("Accepts unsigned logins."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/rotate-publishable-key",
            act(platforms::rotate_publishable, steps::console),
        )
        .twin("POST /v1/platforms/{platform_id}/rotate-publishable-key")
        .summary("Makes a new key for devices."),
    ]
}

/// Returns the routes that have the store of a platform queried or tested, and the one that deletes it.
fn queries() -> Vec<Route> {
    vec![
        Route::page(
            Support,
            "POST",
            "/ui/connect/platforms/{platform_id}/retry-parked",
            act(platforms::retry_parked, steps::console),
        )
        .twin("POST /v1/platforms/{platform_id}/retry-parked")
        .summary("Verifies purchases again that are parked."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/try-access",
            act(setup::try_access, steps::console),
        )
        .twin("POST /v1/platforms/{platform_id}/try-access")
        .summary("Queries the store at once."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/test",
            act(setup::request_test, steps::console),
        )
        .twin("POST /v1/platforms/{platform_id}/test")
        .summary("Requests a test notification of the store."),
        Route::page(
            Operator,
            "POST",
            "/ui/connect/platforms/{platform_id}/delete",
            changes::delete,
        )
        .twin("DELETE /v1/platforms/{platform_id}")
        .summary("Deletes a platform."),
    ]
}

/// Returns the page of the sample, with the purchase that it is about. If the sample was sent from the last step,
/// returns the page of that step.
fn sample_page(visit: &Visit, answer: &Value) -> String {
    if visit.query("from").as_deref() == Some("first") {
        return visit.to(&format!("{}/first?done=sample", upper(visit.uri.path(), 1)));
    }
    let query = visit
        .uri
        .query()
        .map(|query| format!("{query}&"))
        .unwrap_or_default();
    format!(
        "{}?{query}sent={}",
        visit.uri.path(),
        answer["collapse_key"].as_str().unwrap_or_default()
    )
}

/// Returns the page of a new app.
fn new_app_page(visit: &Visit, answer: &Value) -> String {
    let id = answer["id"].as_str().unwrap_or_default();
    let path = format!("/ui/connect/apps/{id}");
    id.parse()
        .map_or_else(|_| path.clone(), |app| of_app(visit, app, &path))
}

/// Returns a path about an app. If an app is selected in the dashboard, the path selects this one instead.
fn of_app(visit: &Visit, app: AppId, path: &str) -> String {
    match visit.app {
        Some(_) if visit.sign_in.app_id.is_none() => {
            format!(
                "{path}{}app_id={app}",
                if path.contains('?') { '&' } else { '?' }
            )
        }
        _ => path.to_owned(),
    }
}
