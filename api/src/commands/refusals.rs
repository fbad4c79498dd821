//! Warns at the start about each destination to which the settings allow no request, since they may be others than those
//! that it was created with.

use protocols::destinations::Allowed;
use storage::{Destination, Error, Page, Store, chain};

/// Starts the task that logs a warning for each enabled destination that the settings refuse.
pub fn warn(store: Store, allowed: Allowed) {
    tokio::spawn(async move {
        match destinations(&store).await {
            Ok(all) => all.iter().filter(|one| one.enabled).for_each(|one| warn_about(one, &allowed)),
            Err(error) => tracing::warn!(error = chain(&error), "the destinations could not be read at the start"),
        }
    });
}

fn warn_about(destination: &Destination, allowed: &Allowed) {
    if let Some(refusal) = allowed.refusal(destination) {
        tracing::warn!(
            destination.id = %destination.id,
            destination.name = destination.name,
            reason = %refusal,
            "the settings allow no request to a destination; its pending deliveries wait"
        );
    }
}

/// The destinations of all apps.
pub async fn destinations(store: &Store) -> Result<Vec<Destination>, Error> {
    let (mut found, mut apps) = (Vec::new(), Page::default());
    loop {
        let read = store.apps(apps).await?;
        for app in read.items {
            let mut page = Page::default();
            loop {
                let read = store.destinations(app.id, page).await?;
                found.extend(read.items.into_iter().map(|one| one.destination));
                let Some(cursor) = read.next_cursor else { break };
                page = Page { cursor: Some(cursor), ..Page::default() };
            }
        }
        let Some(cursor) = read.next_cursor else { return Ok(found) };
        apps = Page { cursor: Some(cursor), ..Page::default() };
    }
}
