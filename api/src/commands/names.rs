//! Resolves ids and names. Adds the names of platforms and destinations to lists that have only their ids. Finds the id
//! of an app, platform, destination or key by its name, a purchase by the store's id, and an event by the id of a
//! delivery.

use super::client::{Client, Refused, known, read_as, segment};
use super::table::Column;
use anyhow::bail;
use api::near::did_you_mean;
use domain::notification::SAMPLE_PREFIX;
use domain::{CollapseKey, DeliveryId, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use storage::{FoundKind, Paged};

/// A kind of resource that has names.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// The field of a list's items that holds the id.
    id: &'static str,
    /// The field that receives the name.
    name: &'static str,
    /// The path below which a single resource is read.
    path: &'static str,
}

/// Platforms, as the column `platform`.
pub const PLATFORM: Named = Named {
    id: "platform_id",
    name: "platform",
    path: "/v1/platforms",
};
/// Destinations, as the column `destination`.
pub const DESTINATION: Named = Named {
    id: "destination_id",
    name: "destination",
    path: "/v1/destinations",
};

impl Named {
    /// Returns whether one of these columns shows the name.
    pub fn is_in(&self, columns: &[Column<'_>]) -> bool {
        columns.iter().any(|(_, path)| *path == self.name)
    }
}

/// Id and name of a resource, which are the only fields needed to resolve a name.
#[derive(Debug, Clone, Deserialize)]
pub struct NamedItem {
    pub id: String,
    pub name: String,
    /// When the key was revoked; `None` for a valid key and for other resources.
    revoked_at: Option<Timestamp>,
}

/// The app that a resource belongs to.
#[derive(Debug, Deserialize)]
struct OfApp {
    app_id: String,
}

/// The purchase found by a search for a receipt.
#[derive(Debug, Deserialize)]
struct FoundPurchase {
    collapse_key: String,
}

/// The event of a delivery.
#[derive(Debug, Deserialize)]
struct DeliveredEvent {
    event_id: String,
}

/// The ids by which an app and its stores know a customer.
#[derive(Debug, Deserialize)]
struct CustomerIds {
    external_id: Option<String>,
    app_user_ids: Vec<String>,
}

/// Search results.
#[derive(Debug, Deserialize)]
struct FoundItems {
    items: Vec<Hit>,
    did_you_mean: Option<String>,
}

/// One search result.
#[derive(Debug, Deserialize)]
struct Hit {
    /// `None` for a kind that this version does not know.
    #[serde(default, deserialize_with = "known")]
    kind: Option<FoundKind>,
    id: String,
    app_id: Option<String>,
    collapse_key: Option<String>,
    found_by: String,
}

/// A text that may be a name, and the app in which it is looked up.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub text: &'a str,
    /// The id of the app; `None` for all apps.
    pub app: Option<&'a str>,
}

/// Returns the id of an app, given its id or name.
pub async fn app_id(client: &Client, text: &str) -> anyhow::Result<String> {
    id_of(client, "app_id", Text { text, app: None }).await
}

/// Resolves a text that was typed for this field of the API. If the field holds the id of an app, a platform, a
/// destination, a key or a customer, returns the id of the named resource; if it holds a collapse key, the purchase's
/// collapse key. Any other text is returned unchanged.
pub async fn id_of(client: &Client, field: &str, named: Text<'_>) -> anyhow::Result<String> {
    let kind = match field {
        "collapse_key" => return collapse_key(client, named.text).await,
        "user_id" => return user_id(client, named).await,
        "app_id" => "app",
        "platform_id" => "platform",
        "destination_id" => "destination",
        "key_id" => "key",
        _ => return Ok(named.text.to_owned()),
    };
    match named.text.parse::<CollapseKey>() {
        Ok(_) => Ok(named.text.to_owned()),
        Err(_) => of_name(client, kind, named).await,
    }
}

/// Does the same as [`id_of`]. `app` is the id or the name of the app; without it, all apps are searched.
pub async fn id_in(
    client: &Client,
    field: &str,
    text: &str,
    app: Option<&str>,
) -> anyhow::Result<String> {
    let app = match app {
        Some(app) => Some(app_id(client, app).await?),
        None => None,
    };
    id_of(
        client,
        field,
        Text {
            text,
            app: app.as_deref(),
        },
    )
    .await
}

/// Returns the id of the only app, platform, destination or key with this name. Keys in use take precedence over
/// revoked ones.
async fn of_name(
    client: &Client,
    kind: &str,
    Text { text, app }: Text<'_>,
) -> anyhow::Result<String> {
    let mut all: Vec<NamedItem> = Vec::new();
    if kind == "app" {
        all = every_named(client, "/v1/apps").await?;
    } else if kind == "key" {
        all = keys_named(every_named(client, "/v1/keys").await?, text);
    } else {
        let apps = match app {
            Some(app) => vec![app.to_owned()],
            None => every_named(client, "/v1/apps")
                .await?
                .into_iter()
                .map(|app| app.id)
                .collect(),
        };
        for app in apps {
            let path = format!("/v1/apps/{}/{kind}s", segment(&app));
            all.extend(every_named(client, &path).await?);
        }
    }
    let mut found = all
        .iter()
        .filter(|one| one.name == text)
        .map(|one| one.id.clone());
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => match kind {
            "app" | "key" => bail!(
                "several {kind}s are named `{text}`: use the id of one (`settle {kind} list`)"
            ),
            _ => {
                bail!("several {kind}s are named `{text}`: use its id, or name the app with --app")
            }
        },
        (None, _) => {
            let meant = did_you_mean(text, all.iter().map(|one| one.name.as_str()));
            bail!("no {kind} has the id or name `{text}`{meant}")
        }
    }
}

/// Returns the keys among which a name is looked up. A key that replaced a revoked one may have its name; then only the
/// keys in use remain.
fn keys_named(mut all: Vec<NamedItem>, text: &str) -> Vec<NamedItem> {
    let is_in_use = |one: &NamedItem| one.revoked_at.is_none();
    if all.iter().any(|one| is_in_use(one) && one.name == text) {
        all.retain(is_in_use);
    }
    all
}

/// Placeholder for the app's id in the path of a list.
pub const OF_APP: &str = "{app_id}";
/// The column for the name of each item's app, in a list over all apps.
pub const APP: &str = "app";

/// Returns the lists of all apps as one list, with the names of the apps unless it is printed as JSON. It has no pages:
/// the tables allow `--limit` and `--cursor` only together with an app.
pub async fn of_all_apps(client: &Client, path: &str) -> anyhow::Result<Value> {
    let mut items = Vec::new();
    let apps = every_named(client, "/v1/apps").await?;
    for app in &apps {
        let path = path.replace(OF_APP, &segment(&app.id));
        let mut list: Vec<Value> = every(client, &path).await?;
        let named = list
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .filter(|_| !client.json && apps.len() > 1);
        named.for_each(|item| drop(item.insert(APP.to_owned(), app.name.clone().into())));
        items.append(&mut list);
    }
    Ok(json!({ "items": items, "next_cursor": null }))
}

/// Returns the ids and names of all items of a list.
pub async fn every_named(client: &Client, path: &str) -> anyhow::Result<Vec<NamedItem>> {
    every(client, path).await
}

/// Returns the id of the app to which the resource at a path belongs.
pub async fn app_of(client: &Client, path: &str) -> anyhow::Result<String> {
    let OfApp { app_id } = read_as(&client.get(path, &[]).await?)?;
    Ok(app_id)
}

/// Returns all items of a list.
pub async fn every<T: DeserializeOwned>(client: &Client, path: &str) -> anyhow::Result<Vec<T>> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = client
            .get(
                path,
                &[("limit", Some("500".to_owned())), ("cursor", cursor)],
            )
            .await?;
        let page: Paged<T> = read_as(&page)?;
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// Adds the name and the id to each item of a list, unless it is printed as JSON. If the name cannot be read, for
/// example because the resource was deleted, only the id is added.
pub async fn add(client: &Client, list: &mut Value, named: Named) {
    if client.json {
        return;
    }
    let mut names = BTreeMap::new();
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        let Some(id) = item
            .get(named.id)
            .and_then(Value::as_str)
            .map(str::to_owned)
        else {
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
    let found = client
        .get(&format!("{}/{}", named.path, segment(id)), &[])
        .await
        .ok()?;
    let NamedItem { name, .. } = read_as(&found).ok()?;
    Some(name).filter(|name| !name.is_empty())
}

/// Resolves a collapse key, the store's id of a purchase, or the name of a sample to a collapse key.
pub async fn collapse_key(client: &Client, text: &str) -> anyhow::Result<String> {
    if text.parse::<CollapseKey>().is_ok() {
        return Ok(text.to_owned());
    }
    let found = client
        .get("/v1/purchases", &[("receipt_id", Some(text.to_owned()))])
        .await?;
    let found: Paged<FoundPurchase> = read_as(&found)?;
    match found.items.as_slice() {
        [one] => Ok(one.collapse_key.clone()),
        [] => match of_sample(client, text).await? {
            Some(key) => Ok(key),
            None => bail!(
                "`{text}` is neither a collapse key nor the store's id of a known purchase: see `settle purchase list`"
            ),
        },
        _ => bail!(
            "several platforms have a purchase `{text}`: use the collapse key (see `settle purchase list --receipt`)"
        ),
    }
}

/// Returns the collapse key of the only purchase of `settle sample --receipt NAME`, whose store id begins with the
/// name.
async fn of_sample(client: &Client, name: &str) -> anyhow::Result<Option<String>> {
    let wanted = json!({ "q": format!("{SAMPLE_PREFIX}{name}.") });
    let found = search(client, &wanted).await?;
    let mut keys = found
        .items
        .into_iter()
        .filter(|hit| hit.kind == Some(FoundKind::Purchase));
    let only = keys.next().filter(|_| keys.next().is_none());
    Ok(only.and_then(|hit| hit.collapse_key))
}

/// Resolves the id of an event or of one of its deliveries (`webhook-id`) to the event's id.
pub async fn event_id(client: &Client, text: &str) -> anyhow::Result<String> {
    if text.parse::<DeliveryId>().is_err() {
        return Ok(text.to_owned());
    }
    match client
        .get(&format!("/v1/deliveries/{}", segment(text)), &[])
        .await
    {
        Ok(delivery) => Ok(read_as::<DeliveredEvent>(&delivery)?.event_id),
        Err(error) if error.is::<Refused>() => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}

/// Returns settle's id of the only customer with this id, which may be settle's, the app's or a store's. A UUID is
/// searched like any other text, because an app's own ids may be UUIDs.
async fn user_id(client: &Client, Text { text, app }: Text<'_>) -> anyhow::Result<String> {
    let mut wanted = json!({ "q": text });
    if let Some(app) = app {
        wanted["app_id"] = app.into();
    }
    only_user(text, &search(client, &wanted).await?)
}

/// Searches by id.
async fn search(client: &Client, wanted: &Value) -> anyhow::Result<FoundItems> {
    read_as(&client.post("/v1/search", wanted).await?)
}

/// Returns settle's id of the only customer found by this id. A UUID that is settle's id or unknown is returned
/// unchanged: the call then decides.
fn only_user(text: &str, found: &FoundItems) -> anyhow::Result<String> {
    let is_user = |hit: &&Hit| {
        hit.kind == Some(FoundKind::Customer) && ["id", "customer"].contains(&hit.found_by.as_str())
    };
    let mut users: Vec<String> = found
        .items
        .iter()
        .filter(is_user)
        .map(|hit| hit.id.clone())
        .collect();
    users.dedup();
    let is_own = text.parse::<CollapseKey>().is_ok()
        && (users.is_empty() || users.iter().any(|user| user == text));
    let mut users = users.into_iter();
    match (users.next(), users.next()) {
        _ if is_own => Ok(text.to_owned()),
        (Some(user), None) => Ok(user),
        (Some(_), Some(_)) => {
            bail!("several customers have the id `{text}`: use settle's id of one")
        }
        (None, _) => bail!(no_customer(text, found.did_you_mean.as_deref())),
    }
}

/// Returns the error for an unknown id, with the id that was probably meant.
fn no_customer(id: &str, meant: Option<&str>) -> String {
    let hint = meant.map_or_else(
        || "`settle search` finds one by any other id.".to_owned(),
        |meant| format!("Did you mean {meant}?"),
    );
    format!("no customer has the id `{id}`. {hint}")
}

/// Returns the error for a typed customer id that is unknown, with the id that was probably meant; `None` if the id is
/// known, or if none was typed.
pub async fn unknown_customer(
    client: &Client,
    typed: &Map<String, Value>,
) -> anyhow::Result<Option<String>> {
    let text = |field: &str| typed.get(field).and_then(Value::as_str);
    let Some(id) = text("external_id").or_else(|| text("app_user_id")) else {
        return Ok(None);
    };
    let mut wanted = json!({ "q": id });
    if let Some(app) = text("app_id") {
        wanted["app_id"] = app_id(client, app).await?.into();
    }
    let FoundItems {
        items,
        did_you_mean: mut meant,
    } = search(client, &wanted).await?;
    for hit in items {
        if hit.kind != Some(FoundKind::Customer) || hit.found_by != "customer" {
            continue;
        }
        let app = segment(hit.app_id.as_deref().unwrap_or_default());
        let path = format!("/v1/apps/{app}/customers/{}", segment(&hit.id));
        let customer: CustomerIds = read_as(&client.get(&path, &[]).await?)?;
        let is_external = customer.external_id.as_deref() == Some(id);
        if is_external || customer.app_user_ids.iter().any(|one| one == id) {
            return Ok(None);
        }
        // The search ignores case, so this id may differ from the typed one only in case.
        meant = meant.or(customer.external_id);
    }
    Ok(Some(no_customer(id, meant.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::{NamedItem, keys_named, only_user, read_as};
    use serde_json::json;

    const OWN: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
    const OTHER: &str = "b50cf1e1-1b7c-4b0e-9f1a-2c9c8a1d7e11";

    #[test]
    fn a_name_means_the_key_in_use_and_else_the_revoked_one() {
        let all = || -> Vec<NamedItem> {
            read_as(&json!([
                { "id": "1", "name": "desk", "revoked_at": "2026-01-31T12:00:00Z" },
                { "id": "2", "name": "desk", "role": "of another version" },
                { "id": "3", "name": "gone", "revoked_at": "2026-01-31T12:00:00Z" },
            ]))
            .expect("keys")
        };
        let ids = |name: &str| -> Vec<String> {
            let named = keys_named(all(), name).into_iter();
            named
                .filter(|one| one.name == name)
                .map(|one| one.id)
                .collect()
        };
        assert_eq!([ids("desk"), ids("gone")], [["2"], ["3"]]);
    }

    #[test]
    fn a_uuid_is_an_id_of_settle_or_of_the_app() {
        let hit = |id: &str, found_by: &str| json!({ "kind": "customer", "id": id, "found_by": found_by });
        for (text, hits, user) in [
            (OWN, vec![], Some(OWN)),
            (OWN, vec![hit(OWN, "id")], Some(OWN)),
            (OWN, vec![hit(OTHER, "customer")], Some(OTHER)),
            (OWN, vec![hit(OTHER, "customer"), hit(OWN, "id")], Some(OWN)),
            ("anna", vec![hit(OTHER, "customer")], Some(OTHER)),
            (
                "anna",
                vec![hit(OTHER, "customer"), hit(OWN, "customer")],
                None,
            ),
            ("anna", vec![hit(OTHER, "beginning")], None),
            (
                "anna",
                vec![json!({ "kind": "of another version", "id": OTHER, "found_by": "customer" })],
                None,
            ),
        ] {
            let found = read_as(&json!({ "items": hits })).expect("search results");
            let found = only_user(text, &found).ok();
            assert_eq!(found.as_deref(), user, "{text}");
        }
    }
}
