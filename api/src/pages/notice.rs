//! The notice at the top of a page: the result of the previous form. This module is pure.

use super::parts::{Sentence, Tone};
use super::text::capital;
use super::visit::Visit;

/// Message about the result of a form.
#[derive(Debug, Clone)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
    /// Details, such as the response to a test.
    pub detail: Option<Sentence>,
}

/// Results of forms: the beginning of the path of the page to which the form redirects, the value of `done` in its
/// query, and the sentence.
const DONE: &[(&str, &str, &str)] = &[
    ("/ui/alarms", "acknowledge", "Alarm acknowledged."),
    (
        "/ui/connect/apps/",
        "deleted",
        "The platform was deleted. Remove its URL from the store's console.",
    ),
    (
        "/ui/connect/platforms/",
        "nothing",
        "There were no changes to save.",
    ),
    (
        "/ui/connect/platforms/",
        "settings",
        "The platform was changed.",
    ),
    (
        "/ui/connect/platforms/",
        "rotate-ingress-key",
        "The URL has changed. Paste the new one into the store's console now.",
    ),
    (
        "/ui/connect/platforms/",
        "retire-old-ingress-key",
        "The previous URL stops working within a second.",
    ),
    (
        "/ui/connect/platforms/",
        "unsigned-logins",
        "Logins need no token any more.",
    ),
    (
        "/ui/connect/platforms/",
        "rotate-publishable-key",
        "The publishable key has changed. Installed apps need the new one.",
    ),
    (
        "/ui/connect/platforms/",
        "retry-parked",
        "The parked purchases are being verified again.",
    ),
    (
        "/ui/connect/platforms/",
        "try-access",
        "The store is being queried. Reload this page in a few seconds: the steps show the result.",
    ),
    (
        "/ui/connect/platforms/",
        "test",
        "A test notification is being requested. Its step shows when it arrives; if it does not within a minute, reload \
         this page to see why.",
    ),
    (
        "/ui/connect/platforms/",
        "approve",
        "The topic is approved. The notifications that waited for it are released.",
    ),
    (
        "/ui/connect/platforms/",
        "reject",
        "The topic is rejected. The notifications that waited for it are refused.",
    ),
    (
        "/ui/connect/platforms/",
        "sample",
        "The sample was accepted. Each step below is marked when it is done.",
    ),
    (
        "/ui/customers/",
        "named",
        "The customer id is set. Affected purchases will be settled again within minutes.",
    ),
    (
        "/ui/customers/",
        "named-other-case",
        "The customer id is set. It differs only by case from another customer's id, or by characters that nobody sees; \
         the two are not merged. Search for the id to see both.",
    ),
    ("/ui/customers/", "move", "The purchases were moved."),
    (
        "/ui/customers/",
        "move-other-case",
        "The purchases were moved. The login differs only by case from another customer's, or by characters that nobody \
         sees; the two are not merged. Search for it to see both.",
    ),
    (
        "/ui/destinations/",
        "enable",
        "The destination is being enabled.",
    ),
    (
        "/ui/destinations/",
        "disable",
        "The destination is being disabled.",
    ),
    (
        "/ui/destinations/",
        "probe",
        "A pending delivery is being sent to check the destination.",
    ),
    (
        "/ui/destinations/",
        "retry",
        "The pending deliveries are being sent.",
    ),
    ("/ui/destinations/", "settings", "The settings were saved."),
    (
        "/ui/destinations/",
        "nothing",
        "There were no changes to save.",
    ),
    (
        "/ui/purchases/",
        "flush",
        "The purchase is being settled now. The result appears here when it is ready.",
    ),
    (
        "/ui/purchases/",
        "hold",
        "The purchase is being held. The result appears here when it is ready.",
    ),
    (
        "/ui/purchases/",
        "release",
        "The hold is being ended. The result appears here when it is ready.",
    ),
    (
        "/ui/purchases/",
        "discard",
        "The waiting notifications are being discarded. The result appears here when it is ready.",
    ),
    ("/ui/team", "end", "The person was signed out."),
    ("/ui/team", "revoke", "The key was revoked."),
];

impl Notice {
    /// Returns the result of the previous form, from the page's address.
    pub fn of(visit: &Visit) -> Option<Self> {
        done(visit.uri.path(), &visit.query("done")?).map(Self::good)
    }

    /// Returns whether the previous form did what `name` names, for a page that words the notice itself.
    pub fn is_of(visit: &Visit, name: &str) -> bool {
        visit.query("done").is_some_and(|done| done == name)
    }

    /// Returns a message about a success.
    pub fn good(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Good,
            text: text.into(),
            detail: None,
        }
    }

    /// Returns the message about a test of a destination.
    pub fn tested(is_ok: bool, detail: &str) -> Self {
        let (tone, text) = if is_ok {
            (Tone::Good, "Test succeeded.")
        } else {
            (Tone::Bad, "Test failed.")
        };
        Self {
            tone,
            text: text.to_owned(),
            detail: Some(Sentence::new(&capital(detail))),
        }
    }
}

fn done(path: &str, name: &str) -> Option<&'static str> {
    let found = DONE
        .iter()
        .find(|(start, done, _)| path.starts_with(start) && *done == name);
    found.map(|(.., sentence)| *sentence)
}

#[cfg(test)]
mod tests {
    use super::{DONE, Notice, done};
    use crate::parts::Tone;
    use std::collections::BTreeSet;

    #[test]
    fn each_notice_is_a_sentence_of_its_own_page() {
        let keys: BTreeSet<_> = DONE.iter().map(|(start, name, _)| (start, name)).collect();
        assert_eq!(keys.len(), DONE.len(), "none is there twice");
        assert!(DONE.iter().all(|(.., sentence)| sentence.ends_with('.')));
        assert_eq!(
            done("/ui/connect/platforms/7", "settings"),
            Some("The platform was changed.")
        );
        assert_eq!(
            done("/ui/destinations/7/settings", "settings"),
            Some("The settings were saved.")
        );
        assert_eq!(
            done("/ui/team/keys", "revoke"),
            Some("The key was revoked.")
        );
        for (path, name) in [
            ("/ui/purchases/7", "settings"),
            ("/ui/purchases/7", "<script>"),
            ("/ui/", "hold"),
        ] {
            assert_eq!(done(path, name), None, "{path} {name}");
        }
    }

    #[test]
    fn a_test_that_failed_is_no_success() {
        assert_eq!(
            (
                Notice::tested(true, "fine").tone,
                Notice::tested(false, "late").tone
            ),
            (Tone::Good, Tone::Bad)
        );
    }
}
