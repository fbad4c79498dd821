//! Names beside ids: adds the name of a platform or destination to a list that has only its id.

use super::client::{Client, segment};
use super::table;
use serde_json::Value;
use std::collections::BTreeMap;

/// A kind of resource that has a name.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The field of a list's items that holds the id.
    id: &'static str,
    /// The field that the name is put into.
    name: &'static str,
    /// The path under which one is read.
    path: &'static str,
}

/// Platforms, as the column `platform`.
pub const PLATFORM: Named = Named { id: "platform_id", name: "platform", path: "/v1/platforms" };
/// Destinations, as the column `destination`.
pub const DESTINATION: Named = Named { id: "destination_id", name: "destination", path: "/v1/destinations" };

/// Adds the name and the id to each item of a list. Where a name cannot be read, such as of something that was deleted,
/// the id is shown without one.
pub async fn add(client: &Client, list: &mut Value, named: Named) {
    let mut names = BTreeMap::new();
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        let Some(id) = item.get(named.id).and_then(Value::as_str).map(str::to_owned) else {
            item.insert(named.name.to_owned(), Value::Null);
            continue;
        };
        if !names.contains_key(&id) {
            names.insert(id.clone(), name(client, named, &id).await);
        }
        let name = names.get(&id).cloned().flatten();
        let shown = name.map_or_else(|| id.clone(), |name| format!("{name} {id}"));
        item.insert(named.name.to_owned(), shown.into());
    }
}

async fn name(client: &Client, named: Named, id: &str) -> Option<String> {
    let found = client.get(&format!("{}/{}", named.path, segment(id)), &[]).await.ok()?;
    Some(table::field(&found, "name")).filter(|name| !name.is_empty())
}
