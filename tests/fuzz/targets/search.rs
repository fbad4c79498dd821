//! A search text. `#` with two numbers searches for an id of the world instead, or the beginning of one.
//!
//! No text may cause an SQL error; every result must be found again by its id; results within an app must belong to
//! that app, and be found in it; each thing must be found by its whole id.

use super::world::{self, DEVICE, RECEIPTS, World};
use domain::{AppId, CollapseKey};
use storage::SearchHit;

/// Maximum number of results.
const MOST: usize = 50;

pub fn check(data: &[u8]) {
    world::with(|world| {
        let text = match data {
            [b'#', number, length, ..] => {
                beginning(world, usize::from(*number), usize::from(*length))
            }
            _ => String::from_utf8_lossy(data).into_owned(),
        };
        let found = search(world, &text, None);
        let app: AppId = world.app.parse().expect("an id");
        let in_app = search(world, &text, Some(app));
        let of_app = found.iter().filter(|hit| hit.app_id == Some(app)).count();
        assert!(
            found.len() == MOST || of_app <= in_app.len(),
            "{text:?}: {found:?}, {in_app:?}"
        );
        assert!(
            in_app.iter().all(|hit| hit.app_id == Some(app)),
            "{text:?}: {in_app:?}"
        );
        let other: AppId = world.other_app.parse().expect("an id");
        let in_other = search(world, &text, Some(other));
        assert!(
            in_other.iter().all(|hit| hit.app_id == Some(other)),
            "{text:?}: {in_other:?}"
        );
        let is_id = ours(world).contains(&text);
        assert!(
            !is_id || found.iter().any(|hit| hit.id == text),
            "{text:?}: {found:?}"
        );
        for hit in found.iter().take(3) {
            let again = search(world, &hit.id, None);
            assert!(
                again
                    .iter()
                    .any(|one| (one.kind, &one.id) == (hit.kind, &hit.id)),
                "{text:?}: {hit:?}, {again:?}"
            );
        }
    });
}

fn search(world: &World, text: &str, app: Option<AppId>) -> Vec<SearchHit> {
    let found = world.block_on(world.store.search(text, app));
    let found = found.unwrap_or_else(|error| panic!("{text:?}: {}", storage::chain(&error)));
    assert!(found.len() <= MOST, "{text:?}: {found:?}");
    for (at, hit) in found.iter().enumerate() {
        assert!(
            !found[..at]
                .iter()
                .any(|one| (one.kind, &one.id) == (hit.kind, &hit.id)),
            "{text:?}: {hit:?} twice"
        );
    }
    found
}

/// Returns the ids of things that are never erased.
fn ours(world: &World) -> [String; 4] {
    let purchase = CollapseKey::of(world.platform, RECEIPTS[0]).to_string();
    [
        world.app.clone(),
        world.platform.to_string(),
        world.destination.clone(),
        purchase,
    ]
}

/// Returns the beginning of something's id.
fn beginning(world: &World, number: usize, length: usize) -> String {
    let others = [
        RECEIPTS[0].to_owned(),
        format!("user-{}", RECEIPTS[0]),
        DEVICE.to_owned(),
    ];
    let ids: Vec<String> = ours(world).into_iter().chain(others).collect();
    ids[number % ids.len()].chars().take(length).collect()
}
