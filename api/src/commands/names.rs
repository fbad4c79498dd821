//! Resolves ids and names: adds the name of a platform or destination to a list that has only its id, and finds the
//! purchase of a collapse key or receipt id, and the event of a delivery.

use super::client::{Client, Refused, segment};
use super::table;
use anyhow::bail;
use domain::{CollapseKey, DeliveryId};
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

/// Adds name and id to each item of a list, unless it is printed as JSON. If the name cannot be read, for example
/// because the resource was deleted, only the id is added.
pub async fn add(client: &Client, list: &mut Value, named: Named) {
    if client.json {
        return;
    }
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

/// Resolves a collapse key or receipt id to the collapse key.
pub async fn collapse_key(client: &Client, text: &str) -> anyhow::Result<String> {
    if text.parse::<CollapseKey>().is_ok() {
        return Ok(text.to_owned());
    }
    let found = client.get("/v1/purchases", &[("receipt_id", Some(text.to_owned()))]).await?;
    match table::items(&found) {
        [one] => Ok(table::field(one, "collapse_key")),
        [] => bail!("`{text}` is neither a collapse key nor a receipt that is known: see `settle purchase list`"),
        _ => bail!(
            "several platforms know a receipt `{text}`: give the collapse key, see `settle purchase list --receipt`"
        ),
    }
}

/// Resolves the id of an event, or that of one of its deliveries (`webhook-id`), to the event's id.
pub async fn event_id(client: &Client, text: &str) -> anyhow::Result<String> {
    if text.parse::<DeliveryId>().is_err() {
        return Ok(text.to_owned());
    }
    match client.get(&format!("/v1/deliveries/{}", segment(text)), &[]).await {
        Ok(delivery) => Ok(table::field(&delivery, "event_id")),
        Err(error) if error.is::<Refused>() => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}
