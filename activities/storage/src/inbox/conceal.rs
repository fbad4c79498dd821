//! Notifications about erased customers are stored with the tombstone in place of the store's id. A message that could
//! not be read may name a customer anywhere: once a customer of the app was erased, only the structure of such a
//! message is stored.

use crate::inbox::notifications::NewNotification;
use crate::inbox::windows::Window;
use crate::settings::tombstones::{self, ConcealedName};
use db::error::Error;
use db::secrets::Secrets;
use db::writer::Write;
use domain::user::{ErasedAppUser, ErasedNames, shape};
use domain::{PlatformId, UserId};
use std::borrow::Cow;
use std::collections::HashMap;
use uuid::Uuid;

/// Returns the notifications as they are to be stored. Reads nothing if no customer of their apps was erased.
pub fn conceal<'n>(
    write: &mut Write<'_>,
    secrets: &Secrets,
    windows: &HashMap<PlatformId, Window>,
    all: &[&'n NewNotification],
) -> Result<Vec<Cow<'n, NewNotification>>, Error> {
    let names: Vec<Option<ErasedAppUser>> =
        all.iter().map(|one| name(secrets, windows, one)).collect();
    let tombstones = names.iter().flatten().map(|name| name.tombstone.clone());
    let known = tombstones::known(write.connection, tombstones)?;
    let erased = names
        .into_iter()
        .map(|name| name.filter(|name| known.contains(&name.tombstone)));
    let stored = all
        .iter()
        .zip(erased)
        .map(|(notification, name)| match name {
            Some(name) => Cow::Owned(concealed(notification, name)),
            None if is_unreadable(windows, notification) => Cow::Owned(NewNotification {
                body: shape(&notification.body),
                ..(*notification).clone()
            }),
            None => Cow::Borrowed(*notification),
        });
    Ok(stored.collect())
}

/// Returns whether the body is the message as the store sent it, and a customer of the app was erased.
fn is_unreadable(windows: &HashMap<PlatformId, Window>, notification: &NewNotification) -> bool {
    let has_erased = windows
        .get(&notification.platform_id)
        .is_some_and(|window| window.has_erased);
    has_erased && notification.collapse_key.is_none()
}

/// Returns the customer of a notification with the tombstone; `None` without a customer, and if no customer of the app
/// was erased.
fn name(
    secrets: &Secrets,
    windows: &HashMap<PlatformId, Window>,
    notification: &NewNotification,
) -> Option<ErasedAppUser> {
    let window = windows
        .get(&notification.platform_id)
        .filter(|window| window.has_erased)?;
    let app_user_id = notification.app_user_id.as_deref()?;
    let customer = ConcealedName {
        app: window.app_id,
        store: &window.store,
        app_user_id,
    };
    Some(ErasedAppUser {
        tombstone: customer.tombstone(secrets),
        store: window.store.clone(),
        app_user_id: app_user_id.to_owned(),
    })
}

/// Returns the notification with the tombstone in place of the store's id.
fn concealed(notification: &NewNotification, name: ErasedAppUser) -> NewNotification {
    let app_user_id = Some(name.tombstone.clone());
    let names = ErasedNames {
        app_users: vec![name],
        ..ErasedNames::default()
    };
    // The names contain no user, so the nil id replaces nothing.
    let body = names.removed_from_text(&notification.body, UserId::new(Uuid::nil()));
    let body = body.unwrap_or_else(|| notification.body.clone());
    NewNotification {
        body,
        app_user_id,
        ..notification.clone()
    }
}
