//! The cursor of a list. The first line is the path of the list, and of any other first line the first byte chooses
//! one; the rest is the cursor. `#` with a number chooses one that the list itself returned, and what follows replaces
//! a byte of it.
//!
//! A cursor of the list continues behind its place; any other one is a place in the list, or the field `cursor` is
//! refused.

use super::lines;
use super::world::{self, Response, World};
use serde_json::Value;
use std::fmt::Write;

/// Every list with a cursor; `{app_id}` is the app.
const LISTS: [&str; 17] = [
    "/v1/apps",
    "/v1/apps/{app_id}/platforms",
    "/v1/apps/{app_id}/destinations",
    "/v1/apps/{app_id}/feed",
    "/v1/apps/{app_id}/entitlements",
    "/v1/apps/{app_id}/products",
    "/v1/apps/{app_id}/transfer-reviews",
    "/v1/keys",
    "/v1/sign-ins",
    "/v1/purchases",
    "/v1/notifications",
    "/v1/alarms",
    "/v1/events",
    "/v1/deliveries",
    "/v1/device-events",
    "/v1/audit-log",
    "/v1/check",
];

pub fn check(data: &[u8]) {
    let (head, rest) = lines(data);
    let named = LISTS.iter().find(|path| path.as_bytes() == head);
    let chosen = usize::from(head.first().copied().unwrap_or_default()) % LISTS.len();
    let path = named.or(LISTS.get(chosen)).expect("a list");
    world::with(|world| {
        let path = path.replace("{app_id}", &world.app);
        match rest {
            [b'#', number, change @ ..] => own(world, &path, usize::from(*number), change),
            _ => drop(page(world, &path, &String::from_utf8_lossy(rest))),
        }
    });
}

/// Reads the list by one item a page up to a cursor of its own, and continues from there, or from a changed one.
fn own(world: &World, path: &str, number: usize, change: &[u8]) {
    let whole = world.admin("GET", &format!("{path}?limit=500"), &Value::Null);
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..=number % 4 {
        let next = match &cursor {
            None => world.admin("GET", &format!("{path}?limit=1"), &Value::Null),
            Some(cursor) => page(world, path, cursor),
        };
        seen.extend_from_slice(next.items());
        cursor = next.body["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return;
        }
    }
    let cursor = cursor.expect("a cursor");
    let [at, byte, ..] = change else {
        // These lists select by a range of which many rows are none of them.
        let is_whole = whole.body["next_cursor"].is_null() && !seen.is_empty();
        assert!(!is_whole || whole.items().starts_with(&seen), "{path} {cursor}: {seen:?}");
        let rest = world.admin("GET", &format!("{path}?limit=500&cursor={}", escaped(&cursor)), &Value::Null);
        assert_eq!(rest.status, 200, "{path} {cursor}: {rest:?}");
        assert!(!is_whole || whole.items().ends_with(rest.items()), "{path} {cursor}: {rest:?}");
        assert!(!is_whole || whole.items().len() == seen.len() + rest.items().len(), "{path} {cursor}: {rest:?}");
        return;
    };
    let mut bytes = cursor.into_bytes();
    let at = usize::from(*at) % bytes.len();
    bytes[at] = *byte;
    page(world, path, &String::from_utf8_lossy(&bytes));
}

/// The page of one item behind a cursor.
fn page(world: &World, path: &str, cursor: &str) -> Response {
    let response = world.admin("GET", &format!("{path}?limit=1&cursor={}", escaped(cursor)), &Value::Null);
    match response.status {
        200 => assert!(response.items().len() <= 1, "{path} {cursor}: {response:?}"),
        status => assert_eq!((status, response.wrong_fields()), (400, vec!["cursor"]), "{path} {cursor}: {response:?}"),
    }
    response
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").expect("a text");
        all
    })
}
