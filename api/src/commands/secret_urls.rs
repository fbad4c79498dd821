//! Secret URLs of destinations: encrypts those that are stored in plain text, and reports those in the audit log.

use super::{destinations, table};
use anyhow::Context;
use protocols::destinations::{has_secret_url, sealed, shown_settings};
use storage::{AuditEntryView, AuditLogFilter, Destination, DestinationChange, Page, Store};

/// Encrypts the URLs, and removes those of deleted destinations. Prints their number, and the number of audit entries
/// that still contain one.
pub async fn seal(store: &Store) -> anyhow::Result<()> {
    let (mut count, mut removed, mut entries) = (0_usize, 0_usize, 0_usize);
    for destination in destinations::all(store).await? {
        count += usize::from(seal_one(store, &destination).await?);
        entries += entries_with_url(store, &destination).await?;
    }
    for destination in store.deleted_destinations().await? {
        entries += entries_with_url(store, &destination).await?;
        removed += usize::from(store.strip_deleted_destination(destination).await?);
    }
    table::line(&format!("Encrypted {count} URLs of destinations."));
    if removed > 0 {
        table::line(&format!("Removed {removed} URLs of deleted destinations."));
    }
    if entries > 0 {
        table::line(&format!(
            "{entries} audit entries still contain such a URL in the clear. No answer shows it, but a copy of the \
             database does: create new URLs at the receivers and revoke the old ones."
        ));
    }
    Ok(())
}

/// Prints how many secret URLs are stored in plain text, if any are.
pub async fn show(store: &Store) -> anyhow::Result<()> {
    let mut count = 0_usize;
    for destination in destinations::all(store).await? {
        // A destination that cannot be read is no reason to fail: the tables are up to date.
        count += usize::from(matches!(change_of(store, &destination).await, Ok(Some(_))));
    }
    let deleted = store.deleted_destinations().await?;
    count += deleted
        .iter()
        .filter(|one| shown_settings(&one.kind, &one.settings) != one.settings)
        .count();
    if count > 0 {
        table::line(&format!(
            "{count} secret URLs are stored unencrypted. Once no process before 0.1.1 runs and you will not go back, \
             run `settle migrate --seal-urls`."
        ));
    }
    Ok(())
}

/// Encrypts the URL of a destination if it is secret and stored in plain text. Returns whether it was.
async fn seal_one(store: &Store, destination: &Destination) -> anyhow::Result<bool> {
    let Some(change) = change_of(store, destination).await? else {
        return Ok(false);
    };
    let changed = store
        .update_destination(destination.id, change, |_| {})
        .await;
    changed.with_context(|| {
        format!(
            "the URL of the destination {} was not encrypted",
            destination.id
        )
    })?;
    Ok(true)
}

/// Returns the change that encrypts a URL; `None` if there is nothing to encrypt.
async fn change_of(
    store: &Store,
    destination: &Destination,
) -> anyhow::Result<Option<DestinationChange>> {
    let secret = store.destination_secret(destination.id).await?;
    let sealed = sealed(destination, &secret)
        .with_context(|| format!("the destination {}", destination.id))?;
    let based_on = Some((destination.settings.clone(), secret));
    Ok(sealed.map(|changed| DestinationChange {
        settings: Some(changed.settings),
        secret: Some(changed.secret),
        based_on,
        ..DestinationChange::default()
    }))
}

/// Returns the number of audit entries about a destination that contain a secret URL.
async fn entries_with_url(store: &Store, destination: &Destination) -> anyhow::Result<usize> {
    let has_url = |entry: &AuditEntryView| {
        [&entry.old_fields, &entry.new_fields]
            .into_iter()
            .any(|fields| has_secret_url(fields, destination))
    };
    let (mut count, mut page) = (0, Page::default());
    loop {
        let filter = AuditLogFilter {
            subject: Some(destination.id.to_string()),
            ..AuditLogFilter::default()
        };
        let read = store.audit_log(filter, page).await?;
        count += read.items.iter().filter(|entry| has_url(entry)).count();
        let Some(cursor) = read.next_cursor else {
            return Ok(count);
        };
        page = Page {
            cursor: Some(cursor),
            ..Page::default()
        };
    }
}
