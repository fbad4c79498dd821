//! The form of an App Store platform, with the steps in App Store Connect.

use super::WITHOUT_PAYLOAD;
use super::settings::{APP_APPLE_ID, ISSUER_ID, KEY_ID};
use protocols::form::{Entry, Form, Input, NAME, Remedy, SetupEvidence, Step};
use protocols::stores::apple::jws::JwsRefusal;
use protocols::stores::apple::notification::{FOREIGN_APP, FOREIGN_BUNDLE, FOREIGN_ENVIRONMENT};
use protocols::stores::apple::response::{NO_RELEASE, NO_URL, WRONG_KEY};

const CONNECT: &str = "App Store Connect";
const SETTLE: &str = "settle";
const APPS: &str = "https://appstoreconnect.apple.com/apps";
const KEYS: &str = "https://appstoreconnect.apple.com/access/integrations/api/subs";

/// Type of a test notification.
pub const TEST: &str = "TEST";

const OF_BUNDLE: &[Remedy] = &[
    Remedy {
        reason: FOREIGN_BUNDLE,
        action: "Compare the platform's Bundle ID with App Store Connect, and give each app the notification URL of its own \
                 platform.",
    },
    Remedy {
        reason: FOREIGN_APP,
        action: "Compare the platform's Apple ID with the one under App Information in App Store Connect.",
    },
];
const OF_URLS: &[Remedy] = &[
    Remedy {
        reason: FOREIGN_ENVIRONMENT,
        action: "Set the platform's Environment to Production, or remove its URL from Production Server URL in App Store \
                 Connect.",
    },
    Remedy {
        reason: WITHOUT_PAYLOAD,
        action: "In App Store Connect, edit the server URL and select Version 2 Notifications.",
    },
];
/// Refusals that no setting in App Store Connect causes.
const OF_THIS_MACHINE: &[Remedy] = &[
    Remedy {
        reason: JwsRefusal::Time.reason(),
        action: "Set the clock of the machine on which settle runs: it differs from Apple's.",
    },
    Remedy {
        reason: JwsRefusal::Chain.reason(),
        action: "Check who sends to this URL, since Apple did not sign the message; notifications of Xcode's local tests are \
                 never accepted.",
    },
];

const OF_KEY: &[&str] = &[WRONG_KEY];
const OF_RELEASE: &[&str] = &[NO_RELEASE];
const OF_TEST: &[&str] = &[NO_URL];

/// Returns the form of an App Store platform.
pub fn form() -> Form {
    Form {
        name: super::STORE,
        label: "the App Store",
        summary: "App Store Server Notifications of purchases in Apple's App Store, whose signatures are verified.",
        entries: entries(),
        events: &[],
        guide: guide(),
    }
}

fn entries() -> Vec<Entry> {
    let shown = [
        NAME.help("For example App Store. All iPhones, iPads, Macs and Apple TVs of an app use one platform."),
        Entry::new("package_name", "Bundle ID", Input::Text)
            .help("The app's bundle id in App Store Connect, for example com.example.radio."),
        Entry::new("environment", "Environment", Input::Select)
            .help(
                "Production also takes purchases in the sandbox and TestFlight, as test purchases. Sandbox takes no \
                 others.",
            )
            .choices(&[("production", "Production"), ("sandbox", "Sandbox")]),
        Entry::new("store_settings.app_apple_id", "Apple ID of the app", Input::Text).help(
            "The number under App Information in App Store Connect, for example 1234567890. Notifications about another \
             app are refused.",
        ),
        Entry::new("store_settings.issuer_id", "Issuer ID", Input::Text).help(
            "Above the keys in App Store Connect, under Users and Access, Integrations, In-App Purchase. You can set it \
             later.",
        ),
        Entry::new("store_settings.key_id", "Key ID", Input::Text)
            .help("Beside the In-App Purchase key in App Store Connect, for example 2X9R4HXF34. You can set it later."),
        Entry::new("store_settings.private_key", "In-App Purchase key", Input::Password).help(
            "Paste the whole text of the key's .p8 file. settle needs it to query purchases and lost notifications at \
             Apple. You can set it later; until then, settle relies on notifications alone.",
        ),
        Entry::new("store_settings.account_ids", "App account tokens of the app", Input::Select)
            .help(
                "If the app sets its own customer ids as app account tokens, settle recognizes the customer of a purchase \
                 by them. By default it does not.",
            )
            .choices(&[("external", "Your customer ids"), ("opaque", "Other values, or none")]),
    ];
    let folded = [
        Entry::new("window_seconds", "Quiet window in seconds", Input::Number),
        Entry::new("max_wait_seconds", "Longest wait in seconds", Input::Number),
        Entry::new("device_events_per_day", "Device events per day", Input::Number),
        Entry::new("device_bytes_per_day", "Device bytes per day", Input::Number),
        Entry::new("new_devices_per_day", "New devices per day", Input::Number),
        Entry::new("new_users_per_day", "New customers per day", Input::Number),
        Entry::new(
            "flush_on_revoke",
            "Settle refunds and revocations immediately, without the quiet window",
            Input::Switch,
        ),
        Entry::new("transfers", "A login on a device with another customer's purchases", Input::Select)
            .help(
                "If purchases move immediately, anyone who logs in with a signed transaction gets that customer's \
                 purchases. Purchases without a logged-in customer always move.",
            )
            .choices(&[
                ("", "Immediately; after approval while logins are signed"),
                ("immediate", "Move the purchases immediately"),
                ("review", "Move them after a person approves"),
                ("never", "Do not move them"),
            ]),
        Entry::new(
            "shares_package",
            "Allow another platform of this app with the same bundle ID in the same environment",
            Input::Switch,
        )
        .help("A purchase that is reported to both counts twice."),
    ];
    shown.into_iter().chain(folded.map(Entry::folded)).collect()
}

const fn step(place: &'static str, title: &'static str, text: &'static str) -> Step {
    Step {
        title,
        text,
        place,
        copy: None,
        url: None,
        evidence: None,
    }
}

fn guide() -> Vec<Step> {
    let mut steps = delivery();
    steps.extend(key());
    steps.extend(checks());
    steps
}

/// Returns the steps that let Apple send notifications to settle.
fn delivery() -> Vec<Step> {
    vec![
        Step {
            evidence: Some(SetupEvidence::Setting(APP_APPLE_ID, OF_BUNDLE)),
            url: Some(APPS),
            ..step(
                CONNECT,
                "Find the app's numbers",
                "Open your app, then App Information. Enter its Apple ID, a number, in the platform's settings, and compare \
                 the Bundle ID with the one there. A platform needs both to refuse notifications about other apps.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Request),
            copy: Some("notification_url"),
            ..step(
                SETTLE,
                "Copy the notification URL",
                "Apple must be able to reach it over HTTPS, on port 443 or from 1024 on, and a public authority must have \
                 issued its certificate. Keep the URL secret.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Message(OF_URLS)),
            url: Some(APPS),
            ..step(
                CONNECT,
                "Enter the URL for both environments",
                "On the same page, under App Store Server Notifications, press Set Up URL at Production Server URL, paste the \
                 URL, and select Version 2 Notifications. Do the same at Sandbox Server URL. If another server gets the \
                 notifications today, let it pass them on to settle unchanged, because Apple knows one URL for each \
                 environment.",
            )
        },
    ]
}

/// Returns the steps that let settle query purchases at Apple.
fn key() -> Vec<Step> {
    vec![
        Step {
            evidence: Some(SetupEvidence::Credentials(OF_KEY)),
            url: Some(KEYS),
            ..step(
                CONNECT,
                "Create an In-App Purchase key",
                "Open Users and Access, Integrations, then In-App Purchase, and press Generate. Download the key, which Apple \
                 offers once. Open the .p8 file in an editor, paste its whole text as In-App Purchase key in the platform's \
                 settings, and delete the file. An App Store Connect API key, which is created on the page beside it, does \
                 not work.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Setting(KEY_ID, &[])),
            url: Some(KEYS),
            ..step(
                CONNECT,
                "Enter the key ID",
                "Copy the Key ID of this key, and enter it in the platform's settings.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Setting(ISSUER_ID, &[])),
            url: Some(KEYS),
            ..step(
                CONNECT,
                "Enter the issuer ID",
                "Copy the Issuer ID above the keys, and enter it in the platform's settings. It is the same for all keys of a \
                 team.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Query(OF_KEY)),
            ..step(
                SETTLE,
                "Check that Apple accepts the key",
                "Once the key and both ids are set, settle queries Apple with them, and this page shows whether Apple answered. \
                 A new key can take some minutes until it works.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Query(OF_RELEASE)),
            url: Some(APPS),
            ..step(
                CONNECT,
                "Release the app",
                "Apple answers queries about production only after the app's first release with in-app purchases. Until then, \
                 set the platform's Environment to Sandbox, or let this step wait: notifications are settled without it.",
            )
        },
    ]
}

/// Returns the steps that test the notifications.
fn checks() -> Vec<Step> {
    vec![
        Step {
            evidence: Some(SetupEvidence::RequestedTest(TEST, OF_TEST)),
            ..step(
                SETTLE,
                "Request a test notification",
                "Press the button on this page, or run settle platform test: settle requests a test notification from Apple, \
                 which sends it to the URL in App Store Connect, usually within seconds.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::LastMessage(OF_THIS_MACHINE)),
            ..step(
                SETTLE,
                "Check that it was accepted",
                "Within a minute, this page shows an accepted message. If it shows a refused one, the reason names the setting \
                 to correct. If it shows none, compare the URL in App Store Connect with the one shown here.",
            )
        },
    ]
}
