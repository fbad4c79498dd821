//! Reports about customers of a store who were erased are stored with the tombstone in the place of the store's id.

use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::writer::Write;
use crate::devices::accept::DeviceRequest;
use crate::devices::rows::Origins;
use crate::settings::tombstones::{self, ConcealedName};
use std::borrow::Cow;

/// The requests as they are stored. Where no customer of an app was erased, nothing is read.
pub fn conceal<'r>(
    write: &mut Write<'_>,
    secrets: &Secrets,
    origins: &Origins,
    requests: &[&'r DeviceRequest],
) -> Result<Vec<Cow<'r, DeviceRequest>>, Error> {
    let mut stored: Vec<Cow<'r, DeviceRequest>> = requests.iter().map(|one| Cow::Borrowed(*one)).collect();
    for request in &mut stored {
        let Some(origin) = origins.get(&request.platform).filter(|origin| origin.has_erased) else { continue };
        let tombstone = |app_user_id: &str| {
            ConcealedName { app: origin.app_id, store: &origin.store, app_user_id }.tombstone(secrets)
        };
        let mut concealed = request.as_ref().clone();
        let reports = concealed.reports.iter_mut();
        let names: Vec<&mut String> = reports.flat_map(|report| report.content.app_user_ids()).collect();
        let known = tombstones::known(write.connection, names.iter().map(|name| tombstone(name)))?;
        for name in names {
            let tombstone = tombstone(name);
            if known.contains(&tombstone) {
                *name = tombstone;
            }
        }
        *request = Cow::Owned(concealed);
    }
    Ok(stored)
}
