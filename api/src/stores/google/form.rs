//! The form of a Google Play platform, with the steps in the Google Cloud console and the Play Console.

use super::keyring::NEVER_LOADED;
use super::mapping::{FOREIGN_PACKAGE, FOREIGN_SUBSCRIPTION, TOO_LARGE, UNREADABLE};
use super::notification::TEST;
use super::settings::{PUSH_ACCOUNT, SUBSCRIPTION};
use super::token::{EXPIRED, NO_BEARER, NOT_YET_VALID, OTHER_ACCOUNT, OTHER_AUDIENCE};
use protocols::form::{Entry, Form, Input, NAME, Remedy, SetupEvidence, Step};
use protocols::stores::google::response::AccessProblem;

const CLOUD: &str = "Google Cloud console";
const PLAY: &str = "Play Console";
const SETTLE: &str = "settle";
const API: &str = "https://console.cloud.google.com/apis/library/androidpublisher.googleapis.com";
const TOPICS: &str = "https://console.cloud.google.com/cloudpubsub/topic/list";
const SUBSCRIPTIONS: &str = "https://console.cloud.google.com/cloudpubsub/subscription/list";
const ACCOUNTS: &str = "https://console.cloud.google.com/iam-admin/serviceaccounts";
const PLAY_CONSOLE: &str = "https://play.google.com/console";

/// Refusals of messages that Pub/Sub pushed: the topic exists, and its publisher may publish.
const BEHIND_TOPIC: &[&str] = &[
    OTHER_ACCOUNT.reason(),
    OTHER_AUDIENCE.reason(),
    FOREIGN_SUBSCRIPTION.reason,
    FOREIGN_PACKAGE.reason,
];
/// Refusals of messages of another publisher than Google Play.
const OF_PUBLISHERS: &[Remedy] = &[
    Remedy {
        reason: UNREADABLE.reason,
        action: "The message is no notification of Google Play, so another account published it: in the topic's permissions, \
                 remove the role Pub/Sub Publisher from all accounts but Google Play's.",
    },
    Remedy {
        reason: TOO_LARGE.reason,
        action: "The message is larger than any notification of Google Play, so another account published it: in the topic's \
                 permissions, remove the role Pub/Sub Publisher from all accounts but Google Play's.",
    },
];
const OF_ACCOUNT: &[Remedy] = &[Remedy {
    reason: OTHER_ACCOUNT.reason(),
    action: "On the subscription's page in the Google Cloud console, find the service account of its push authentication, and \
             enter that email address as Push account in the platform's settings.",
}];
const OF_SUBSCRIPTION: &[Remedy] = &[Remedy {
    reason: FOREIGN_SUBSCRIPTION.reason,
    action: "Compare the platform's Push subscription with the full name in the Google Cloud console, and remove this URL from all \
             other subscriptions.",
}];
/// Refusals because of the settings of the push subscription.
const OF_PUSHES: &[Remedy] = &[
    Remedy {
        reason: NO_BEARER.reason(),
        action: "Edit the subscription in the Google Cloud console: check Enable authentication, and select the push account.",
    },
    Remedy {
        reason: OTHER_AUDIENCE.reason(),
        action: "Copy the audience shown here, edit the subscription in the Google Cloud console, and paste it as Audience.",
    },
    Remedy {
        reason: super::WITHOUT_WRAPPER.reason(),
        action: "Edit the subscription in the Google Cloud console, and clear Enable payload unwrapping.",
    },
];
const OF_APPS: &[Remedy] = &[Remedy {
    reason: FOREIGN_PACKAGE.reason,
    action: "Compare the package name in the platform's settings with the Play Console; if it is right, give each app a topic \
             and a push subscription of its own.",
}];
/// Refusals that no setting at Google causes.
const OF_THIS_MACHINE: &[Remedy] = &[
    Remedy {
        reason: EXPIRED.reason(),
        action: SET_CLOCK,
    },
    Remedy {
        reason: NOT_YET_VALID.reason(),
        action: SET_CLOCK,
    },
    Remedy {
        reason: NEVER_LOADED.reason(),
        action: "Let settle reach https://www.googleapis.com: it loads the keys from there with which Google signs.",
    },
];
const SET_CLOCK: &str =
    "Set the clock of the machine on which settle runs: it differs from Google's.";

/// Reasons for which Google refuses every query.
const OF_API: &[&str] = &[AccessProblem::ApiDisabled.refusal().why];
const OF_KEY: &[&str] = &[AccessProblem::Credential.refusal().why];
const OF_RIGHTS: &[&str] = &[
    AccessProblem::Right.refusal().why,
    AccessProblem::App.refusal().why,
];

/// Returns the form of a Google Play platform.
pub fn form() -> Form {
    Form {
        name: super::STORE,
        label: "Google Play",
        summary: "Real-time developer notifications of purchases on Google Play, verified with Google.",
        entries: entries(),
        events: &[],
        guide: guide(),
    }
}

fn entries() -> Vec<Entry> {
    let shown = [
        NAME.help("For example Google Play. All Android phones, tablets and TVs of an app use one platform."),
        Entry::new("package_name", "Package name", Input::Text)
            .help("The app's package name in the Play Console, for example com.example.radio."),
        Entry::new("store_settings.service_account", "Service account", Input::Password).help(
            "Paste the whole text of the service account's JSON key file. settle needs it to verify purchases with Google. \
             You can set it later.",
        ),
        Entry::new("store_settings.subscription", "Push subscription", Input::Text).help(
            "The full name of the Pub/Sub subscription, for example projects/my-project/subscriptions/play. You can set it \
             later; until then, all notifications wait at Google.",
        ),
        Entry::new("store_settings.push_account", "Push account", Input::Text).help(
            "The email address of the service account in the subscription's authentication, for example \
             push@my-project.iam.gserviceaccount.com. settle refuses pushes that another account signed.",
        ),
        Entry::new("store_settings.acknowledge", "Purchases are acknowledged by", Input::Select)
            .help(
                "Google refunds a purchase that is not acknowledged within three days. Most apps acknowledge theirs \
                 themselves, which is also the default.",
            )
            .choices(&[("app", "The app or its server"), ("settle", "settle")]),
        Entry::new("store_settings.account_ids", "Obfuscated account ids of the app", Input::Select)
            .help(
                "If the app passes its own customer ids to Google, settle recognizes the customer of a purchase by them. By \
                 default it does not.",
            )
            .choices(&[("external", "Your customer ids"), ("opaque", "Other values, or none")]),
    ];
    let folded = [
        Entry::new("store_settings.push_audience", "Audience", Input::Url).help(
            "The audience in the subscription's authentication. Leave it empty to have it filled in when you save the push \
             subscription. Do not use the notification URL, which contains a secret.",
        ),
        Entry::new("window_seconds", "Quiet window in seconds", Input::Number),
        Entry::new("max_wait_seconds", "Longest wait in seconds", Input::Number),
        Entry::new("device_events_per_day", "Device events per day", Input::Number),
        Entry::new("device_bytes_per_day", "Device bytes per day", Input::Number),
        Entry::new("new_devices_per_day", "New devices per day", Input::Number),
        Entry::new("new_users_per_day", "New customers per day", Input::Number),
        Entry::new("product_ref", "Product id of a subscription", Input::Select)
            .choices(&[("term", "The product with its base plan"), ("parent", "The product alone")]),
        Entry::new(
            "flush_on_revoke",
            "Settle refunds and revocations immediately, without the quiet window",
            Input::Switch,
        ),
        Entry::new("transfers", "A login on a device with another customer's purchases", Input::Select)
            .help(
                "If purchases move immediately, anyone who logs in with a purchase token gets that customer's purchases. \
                 Purchases without a logged-in customer always move.",
            )
            .choices(&[
                ("", "Immediately; after approval while logins are signed"),
                ("immediate", "Move the purchases immediately"),
                ("review", "Move them after a person approves"),
                ("never", "Do not move them"),
            ]),
        Entry::new(
            "shares_package",
            "Allow another platform of this app with the same package in the same environment",
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
    steps.extend(rights());
    steps.extend(notifications());
    steps
}

/// Returns the steps that let Pub/Sub push notifications to settle.
fn delivery() -> Vec<Step> {
    vec![
        Step {
            evidence: Some(SetupEvidence::Passage(&[], BEHIND_TOPIC)),
            url: Some(TOPICS),
            ..step(
                CLOUD,
                "Create a topic",
                "Select a project of yours at the top of the console. Under Pub/Sub, Topics, press Create topic, enter an id, \
                 for example play-notifications, and clear Add a default subscription.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Passage(OF_PUBLISHERS, BEHIND_TOPIC)),
            ..step(
                CLOUD,
                "Let Google Play publish to it",
                "In the list of topics, open the topic's menu and choose View permissions, then Add principal. Paste \
                 google-play-developer-notifications@system.gserviceaccount.com as the principal and select the role Pub/Sub \
                 Publisher. No other account may publish. If the console refuses the principal, your organization's policy \
                 Domain restricted sharing has to allow it.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Setting(PUSH_ACCOUNT, OF_ACCOUNT)),
            url: Some(ACCOUNTS),
            ..step(
                CLOUD,
                "Create the push account",
                "Under IAM & Admin, Service Accounts, press Create service account. Enter a name, for example settle-push, and \
                 finish without any role. Google signs the pushes for this account. Copy its email address from the list, and \
                 enter it as Push account in the platform's settings.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Setting(SUBSCRIPTION, OF_SUBSCRIPTION)),
            ..step(
                SETTLE,
                "Enter the subscription",
                "Choose a name for the push subscription, for example play. As Push subscription in the platform's settings, \
                 enter projects/PROJECT_ID/subscriptions/play, and save. PROJECT_ID is the id of the project, not its number: \
                 the project picker at the top of the console shows it. settle then fills in the audience.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Request),
            copy: Some("notification_url"),
            ..step(
                SETTLE,
                "Copy the notification URL",
                "Google must be able to reach it over HTTPS, and a public authority must have issued its certificate. Keep the \
                 URL secret.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Message(OF_PUSHES)),
            url: Some(SUBSCRIPTIONS),
            copy: Some("store_settings.push_audience"),
            ..step(
                CLOUD,
                "Create a push subscription",
                "Under Pub/Sub, Subscriptions, press Create subscription. As Subscription ID, enter the name that you chose, \
                 and select the topic. As the delivery type, select Push, and paste the notification URL as Endpoint URL. \
                 Check Enable authentication, select the push account, and paste the audience, which is shown here once the \
                 subscription is entered in settle. If the console asks to grant Pub/Sub a role for tokens, grant it. Leave \
                 payload unwrapping off. Before you press Create, do the next step on the same page.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Invisible(
                "settle cannot see this setting: check it on the subscription's page in the Google Cloud console.",
            )),
            ..step(
                CLOUD,
                "Let the subscription never expire",
                "Under Expiration period, select Never expire, then press Create. Otherwise Google deletes the subscription \
                 after 31 days without activity.",
            )
        },
    ]
}

/// Returns the steps that let settle query purchases at Google.
fn rights() -> Vec<Step> {
    vec![
        Step {
            evidence: Some(SetupEvidence::Query(OF_API)),
            url: Some(API),
            ..step(
                CLOUD,
                "Turn on the API",
                "Select the same project, open the Google Play Android Developer API, and press Enable. settle verifies \
                 purchases with it.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Credentials(OF_KEY)),
            url: Some(ACCOUNTS),
            ..step(
                CLOUD,
                "Create a key of a second service account",
                "Create another account without any role in the same way, for example settle-reader. Open it, and under Keys \
                 press Add key, Create new key, JSON. Open the downloaded file in an editor, paste its whole text as Service \
                 account in the platform's settings, and delete the file. If the console refuses the key, your organization's \
                 policy Disable service account key creation has to allow it.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Query(OF_RIGHTS)),
            url: Some(PLAY_CONSOLE),
            ..step(
                PLAY,
                "Give the account its rights",
                "Under Users and permissions, press Invite new users, and enter the email address of the second account. Under \
                 App permissions, add your app and check View financial data, orders, and cancellation survey responses. If \
                 settle acknowledges purchases, also check Manage orders and subscriptions. Press Apply, then Invite user. It \
                 can take a day or more until Google applies new rights; settle tries them every hour.",
            )
        },
    ]
}

/// Returns the steps that turn the notifications on and test them.
fn notifications() -> Vec<Step> {
    vec![
        Step {
            evidence: Some(SetupEvidence::Message(OF_APPS)),
            ..step(
                PLAY,
                "Turn on the notifications",
                "Open your app, then Monetize with Play, Monetization setup. Check Enable real-time notifications. As Topic \
                 name, enter the topic's full name, for example projects/PROJECT_ID/topics/play-notifications with the \
                 project's id. Select the notifications for subscriptions, voided purchases and all one-time products.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::Test(TEST)),
            ..step(
                PLAY,
                "Send a test notification",
                "Press Save changes, then Send test notification on the same page.",
            )
        },
        Step {
            evidence: Some(SetupEvidence::LastMessage(OF_THIS_MACHINE)),
            ..step(
                SETTLE,
                "Check that it was accepted",
                "Within a minute, this page shows an accepted message. If it shows a refused one, the reason names the setting to \
                 correct. If it shows none, check the publisher's role and the subscription's endpoint.",
            )
        },
    ]
}
