//! Notifications about customers who were forgotten are stored with the tombstone in the place of the store's id.

use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::writer::Write;
use crate::inbox::accept::Window;
use crate::inbox::notifications::NewNotification;
use crate::settings::tombstones::{self, ConcealedName};
use domain::PlatformId;
use domain::user::{ForgottenAppUser, ForgottenNames};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// Notifications that are accepted together, and the settings of their platforms.
#[derive(Clone, Copy)]
pub struct Received<'a, 'n> {
    pub windows: &'a HashMap<PlatformId, Window>,
    pub all: &'a [&'n NewNotification],
}

/// The notifications as they are stored. Where no customer of an app was forgotten, nothing is read.
pub fn conceal<'n>(
    write: &mut Write<'_>,
    secrets: &Secrets,
    received: Received<'_, 'n>,
) -> Result<Vec<Cow<'n, NewNotification>>, Error> {
    let names: Vec<Option<ForgottenAppUser>> =
        received.all.iter().map(|notification| name(secrets, received.windows, notification)).collect();
    let tombstones = names.iter().flatten().map(|name| name.tombstone.clone());
    let known = tombstones::known(write.connection, tombstones)?;
    let forgotten = names.into_iter().map(|name| name.filter(|name| known.contains(&name.tombstone)));
    let stored = received.all.iter().zip(forgotten).map(|(notification, name)| match name {
        None => Cow::Borrowed(*notification),
        Some(name) => Cow::Owned(concealed(notification, name)),
    });
    Ok(stored.collect())
}

/// The customer of a notification, with what would stand for them.
fn name(
    secrets: &Secrets,
    windows: &HashMap<PlatformId, Window>,
    notification: &NewNotification,
) -> Option<ForgottenAppUser> {
    let window = windows.get(&notification.platform_id).filter(|window| window.has_forgotten)?;
    let app_user_id = notification.app_user_id.as_deref()?;
    let customer = ConcealedName { app: window.app_id, store: &window.store, app_user_id };
    Some(ForgottenAppUser {
        tombstone: customer.tombstone(secrets),
        store: window.store.clone(),
        app_user_id: app_user_id.to_owned(),
    })
}

/// The notification with the tombstone in the place of the store's id.
fn concealed(notification: &NewNotification, name: ForgottenAppUser) -> NewNotification {
    let tombstone = name.tombstone.clone();
    NewNotification {
        body: concealed_body(&notification.body, name),
        app_user_id: Some(tombstone),
        ..notification.clone()
    }
}

/// The body of a notification with the tombstone in the place of the store's id.
pub fn concealed_body(body: &str, name: ForgottenAppUser) -> String {
    let (app_user_id, tombstone) = (name.app_user_id.clone(), name.tombstone.clone());
    let names = ForgottenNames { app_users: vec![name], ..ForgottenNames::default() };
    let Ok(read) = serde_json::from_str::<Value>(body) else { return body.replace(&app_user_id, &tombstone) };
    // No user is among the names, so the anonymous one replaces nothing.
    let anonymous = domain::UserId::new(uuid::Uuid::nil());
    names.removed_from(&read, anonymous).map_or_else(|| body.to_owned(), |without| without.to_string())
}
