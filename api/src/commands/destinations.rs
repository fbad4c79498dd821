//! The destinations of all apps.

use storage::{Destination, Error, Page, Store};

/// Reads the destinations of all apps, including disabled ones.
pub async fn all(store: &Store) -> Result<Vec<Destination>, Error> {
    let (mut found, mut apps) = (Vec::new(), Page::default());
    loop {
        let read = store.apps(apps).await?;
        for app in read.items {
            let mut page = Page::default();
            loop {
                let read = store.destinations(app.id, page).await?;
                found.extend(read.items.into_iter().map(|one| one.destination));
                let Some(cursor) = read.next_cursor else {
                    break;
                };
                page = Page {
                    cursor: Some(cursor),
                    ..Page::default()
                };
            }
        }
        let Some(cursor) = read.next_cursor else {
            return Ok(found);
        };
        apps = Page {
            cursor: Some(cursor),
            ..Page::default()
        };
    }
}
