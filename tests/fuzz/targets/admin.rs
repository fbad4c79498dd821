//! A change through the API. The first line is a method and a path as in `/openapi.json`; for any other first line, its
//! first byte chooses one. The rest is the body.
//!
//! Every refusal must be a client error that names the wrong fields ([`super::world::World`]); and after a change,
//! everything that existed must still be readable.

use super::lines;
use super::world::{self, DEVICE, RECEIPTS, World};
use api::route::Access;
use domain::CollapseKey;
use serde_json::Value;
use std::sync::LazyLock;

/// All methods and paths of changes.
static CHANGES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let all = api::routes::routes()
        .into_iter()
        .filter(|route| route.access == Access::Admin);
    // DELETE is left out: it has no body, and would leave nothing for later inputs.
    all.filter(|route| !matches!(route.method, "GET" | "DELETE"))
        .map(|route| (route.method, route.path))
        .collect()
});

pub fn check(data: &[u8]) {
    let (head, body) = lines(data);
    let named = CHANGES
        .iter()
        .find(|(method, path)| format!("{method} {path}").as_bytes() == head);
    let chosen = usize::from(head.first().copied().unwrap_or_default()) % CHANGES.len();
    let (method, path) = named.or(CHANGES.get(chosen)).expect("a change");
    world::with(|world| {
        let response = world.admin_bytes(method, &filled(world, path), body);
        if response.status < 300 {
            for path in [
                format!("/v1/apps/{}", world.app),
                format!("/v1/apps/{}/catalogue", world.app),
                format!("/v1/apps/{}/platforms", world.app),
                format!("/v1/apps/{}/destinations", world.app),
                format!("/v1/platforms/{}", world.platform),
                format!("/v1/destinations/{}", world.destination),
                "/v1/audit-log?limit=1".to_owned(),
            ] {
                assert_eq!(
                    world.admin("GET", &path, &Value::Null).status,
                    200,
                    "{path} after {method} {path}"
                );
            }
        }
    });
}

/// Returns a path with its parameters replaced by ids of the world.
fn filled(world: &World, path: &str) -> String {
    let purchase = CollapseKey::of(world.platform, RECEIPTS[0]).to_string();
    let platform = world.platform.to_string();
    let id = |name: &str| match name {
        "app_id" => world.app.as_str(),
        "platform_id" => platform.as_str(),
        "destination_id" => world.destination.as_str(),
        "collapse_key" => purchase.as_str(),
        "ref" => "premium-1",
        "sku" => "month",
        // An id that does not exist.
        _ => DEVICE,
    };
    let part = |part: &str| match part
        .strip_prefix('{')
        .and_then(|name| name.strip_suffix('}'))
    {
        Some(name) => id(name).to_owned(),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
