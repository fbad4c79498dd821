//! The cursor of a list. The first line is the path of the list; for any other first line, its first byte chooses one.
//! The rest is the cursor. `#` with a number chooses a cursor that the list itself returned, and the bytes after it
//! replace one of its bytes.
//!
//! A cursor of the list continues after its position. Any other cursor is either a position in the list, after which
//! the list's own items follow, or is refused with the field `cursor`.

use super::lines;
use super::world::{self, LISTS, Response, World};
use serde_json::Value;
use std::fmt::Write;

/// A list, and its first page.
struct List<'a> {
    world: &'a World,
    path: &'a str,
    whole: &'a Response,
}

pub fn check(data: &[u8]) {
    let (head, rest) = lines(data);
    let named = LISTS.iter().find(|path| path.as_bytes() == head);
    let chosen = usize::from(head.first().copied().unwrap_or_default()) % LISTS.len();
    let path = named.or(LISTS.get(chosen)).expect("a list");
    world::with(|world| {
        let path = path.replace("{app_id}", &world.app);
        let whole = world.admin("GET", &format!("{path}?limit=500"), &Value::Null);
        let list = List {
            world,
            path: &path,
            whole: &whole,
        };
        match rest {
            [b'#', number, change @ ..] => list.own(usize::from(*number), change),
            _ => drop(list.page(&String::from_utf8_lossy(rest))),
        }
    });
}

impl List<'_> {
    /// Returns whether the first page contains all items.
    fn is_whole(&self) -> bool {
        self.whole.body["next_cursor"].is_null()
    }

    /// Reads the list one item per page up to one of its own cursors, and continues from that cursor, or from a changed
    /// one.
    fn own(&self, number: usize, change: &[u8]) {
        let Self { world, path, whole } = self;
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..=number % 8 {
            let next = match &cursor {
                None => world.admin("GET", &format!("{path}?limit=1"), &Value::Null),
                Some(cursor) => self.page(cursor),
            };
            seen.extend_from_slice(next.items());
            cursor = next.body["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return;
            }
        }
        let cursor = cursor.expect("a cursor");
        let [at, byte, ..] = change else {
            // These lists select by a range that excludes many rows.
            let is_whole = self.is_whole() && !seen.is_empty();
            assert!(
                !is_whole || whole.items().starts_with(&seen),
                "{path} {cursor}: {seen:?}"
            );
            let rest = world.admin(
                "GET",
                &format!("{path}?limit=500&cursor={}", escaped(&cursor)),
                &Value::Null,
            );
            assert_eq!(rest.status, 200, "{path} {cursor}: {rest:?}");
            assert!(
                !is_whole || whole.items().ends_with(rest.items()),
                "{path} {cursor}: {rest:?}"
            );
            assert!(
                !is_whole || whole.items().len() == seen.len() + rest.items().len(),
                "{path} {cursor}: {rest:?}"
            );
            return;
        };
        let mut bytes = cursor.into_bytes();
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *byte;
        self.page(&String::from_utf8_lossy(&bytes));
    }

    /// Returns the page with one item after a cursor.
    fn page(&self, cursor: &str) -> Response {
        let Self { world, path, whole } = self;
        let response = world.admin(
            "GET",
            &format!("{path}?limit=1&cursor={}", escaped(cursor)),
            &Value::Null,
        );
        if response.status != 200 {
            let refused = (response.status, response.wrong_fields());
            assert_eq!(
                refused,
                (400, vec!["cursor"]),
                "{path} {cursor}: {response:?}"
            );
            return response;
        }
        assert!(response.items().len() <= 1, "{path} {cursor}: {response:?}");
        let is_known = |item: &Value| !self.is_whole() || whole.items().contains(item);
        assert!(
            response.items().iter().all(is_known),
            "{path} {cursor}: {response:?}"
        );
        response
    }
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").expect("a text");
        all
    })
}
