//! The role and scope of each route, including the dashboard's.

use api::keys::scope::Scope;
use api::route::{Access, Route};
use api::routes::routes;
use storage::Role;

/// Returns the API's routes, then the dashboard's.
fn all() -> Vec<Route> {
    routes().into_iter().chain(pages::routes()).collect()
}

#[test]
fn the_documented_table_is_that_of_the_routes() {
    let guarded = all()
        .into_iter()
        .filter(|route| route.access == Access::Admin);
    let row = |route: Route| {
        let (least, scope) = (route.least.as_str(), route.scope().describe());
        format!(
            "| `{} {}` | {least} | {scope} |\n",
            route.method, route.path
        )
    };
    let table: String = guarded.map(row).collect();
    let documented = include_str!("../../../../api/src/keys/README.md")
        .split("|---|---|---|\n")
        .nth(1)
        .unwrap_or_default();
    assert_eq!(documented, table, "the table in api/src/keys/README.md");
}

#[test]
fn every_route_that_names_a_thing_knows_its_app() {
    for route in all()
        .into_iter()
        .filter(|route| route.access == Access::Admin && route.path.contains('{'))
    {
        assert!(
            matches!(route.scope(), Scope::Path(_)),
            "{} {}",
            route.method,
            route.path
        );
    }
}

#[test]
fn below_read_are_metrics_and_callers() {
    for route in all()
        .into_iter()
        .filter(|route| route.access == Access::Admin)
    {
        let is_below = ["/metrics", "/v1/caller"].contains(&route.path);
        assert_eq!(route.least == Role::Metrics, is_below, "{}", route.path);
        assert!(
            route.method == "GET" || route.least > Role::Read || route.is_query,
            "{} {}",
            route.method,
            route.path
        );
    }
}
