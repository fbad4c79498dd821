//! Reports that name an erased customer: they are stored with the tombstone in place of the store's id, and without the
//! app's texts that contain the id.

use crate::devices::request::DeviceRequest;
use crate::devices::rows::{Origin, Origins};
use crate::settings::tombstones::{self, ConcealedName};
use db::error::Error;
use db::secrets::Secrets;
use db::writer::Write;
use domain::user::{LONG_NAME_BYTES, REMOVED};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Namespace of the tombstones that replace client ids.
const EVENTS: &str = "device_events";

/// Returns the requests as they are to be stored. Reads nothing for an app that never erased a customer.
pub fn conceal<'r>(
    write: &mut Write<'_>,
    secrets: &Secrets,
    origins: &Origins,
    requests: &[&'r DeviceRequest],
) -> Result<Vec<Cow<'r, DeviceRequest>>, Error> {
    let mut stored: Vec<Cow<'r, DeviceRequest>> =
        requests.iter().map(|one| Cow::Borrowed(*one)).collect();
    for request in &mut stored {
        let Some(origin) = origins
            .get(&request.platform)
            .filter(|origin| origin.has_erased)
        else {
            continue;
        };
        let mut concealed = request.as_ref().clone();
        let mut names = ConcealedNames {
            secrets,
            origin,
            known: BTreeSet::new(),
        };
        names.known = tombstones::known(write.connection, names.sought(&mut concealed))?;
        if !names.known.is_empty() {
            names.conceal(&mut concealed);
            *request = Cow::Owned(concealed);
        }
    }
    Ok(stored)
}

/// The names of erased customers in a request, by their tombstones.
struct ConcealedNames<'a> {
    secrets: &'a Secrets,
    origin: &'a Origin,
    known: BTreeSet<String>,
}

impl ConcealedNames<'_> {
    fn tombstone(&self, app_user_id: &str) -> String {
        ConcealedName {
            app: self.origin.app_id,
            store: &self.origin.store,
            app_user_id,
        }
        .tombstone(self.secrets)
    }

    /// Returns the tombstone of each text in the request that may be a store's id.
    fn sought(&self, request: &mut DeviceRequest) -> BTreeSet<String> {
        let mut sought = BTreeSet::new();
        for report in &mut request.reports {
            sought.extend(parts(&report.client_id).map(|part| self.tombstone(part)));
            sought.extend(
                report
                    .content
                    .app_user_ids()
                    .map(|name| self.tombstone(name)),
            );
            for text in report.content.chosen_texts() {
                sought.extend(parts(text).map(|part| self.tombstone(part)));
            }
        }
        sought
    }

    fn conceal(&self, request: &mut DeviceRequest) {
        let device = request.device.id.to_string();
        // Equal ids get equal replacements, because a repeated report is recognized by its id.
        let client_id = |id: &mut String| {
            if self.is_named_in(id) {
                *id = self.secrets.tombstone(EVENTS, &device, id);
            }
        };
        for report in &mut request.reports {
            client_id(&mut report.client_id);
            report
                .content
                .impression_id()
                .into_iter()
                .for_each(client_id);
            for name in report.content.app_user_ids() {
                let tombstone = self.tombstone(name);
                if self.known.contains(&tombstone) {
                    *name = tombstone;
                }
            }
            for text in report
                .content
                .chosen_texts()
                .filter(|text| self.is_named_in(text))
            {
                REMOVED.clone_into(text);
            }
        }
    }

    fn is_named_in(&self, text: &str) -> bool {
        parts(text).any(|part| self.known.contains(&self.tombstone(part)))
    }
}

/// Returns the text itself and its pieces, if they are long enough for a store's id.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |one: char| !one.is_alphanumeric() && !"-_=+/.@".contains(one);
    let pieces = text.split(is_between).filter(move |piece| *piece != text);
    [text]
        .into_iter()
        .chain(pieces)
        .filter(|part| part.len() >= LONG_NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_text_is_searched_by_its_long_pieces_too() {
        let found = |text: &str| parts(text).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found("l3HL7Xpp-x_y=+/"), ["l3HL7Xpp-x_y=+/"]);
        assert_eq!(
            found("of (l3HL7Xpp=), late"),
            ["of (l3HL7Xpp=), late", "l3HL7Xpp="]
        );
        assert_eq!(found("short"), [""; 0]);
    }
}
