//! The form of an Amazon platform, with the steps in Amazon's Developer Console.

use protocols::form::{Entry, Form, Input, NAME, Step};

const CONSOLE: &str = "https://developer.amazon.com/apps-and-games/console/apps/list.html";

/// Returns the form of an Amazon platform.
pub fn form() -> Form {
    Form {
        name: super::STORE,
        label: "the Amazon Appstore",
        summary: "Real-Time Notifications of purchases in the Amazon Appstore, verified with Amazon.",
        entries: entries(),
        events: &[],
        guide: guide(),
    }
}

fn entries() -> Vec<Entry> {
    let shown = [
        NAME.help("For example Amazon Appstore. All Fire devices of an app use one platform."),
        Entry::new("package_name", "Package name", Input::Text)
            .help("The app's package name, for example com.example.radio."),
        Entry::new("environment", "Environment", Input::Select)
            .help("Production takes real payments; sandbox is for test purchases.")
            .choices(&[("production", "Production"), ("sandbox", "Sandbox")]),
        Entry::new("shared_secret", "Shared secret", Input::Password).help(
            "From the page of your developer account that calls it Shared Key. settle needs it to verify purchases with \
             Amazon. You can set it later.",
        ),
    ];
    let folded = [
        Entry::new("topic_arn", "Topic", Input::Text)
            .help("The ARN of Amazon's topic, if you know it. The topic then needs no approval."),
        Entry::new("window_seconds", "Quiet window in seconds", Input::Number),
        Entry::new("max_wait_seconds", "Longest wait in seconds", Input::Number),
        Entry::new("device_events_per_day", "Device events per day", Input::Number),
        Entry::new("device_bytes_per_day", "Device bytes per day", Input::Number),
        Entry::new("new_devices_per_day", "New devices per day", Input::Number),
        Entry::new("new_users_per_day", "New customers per day", Input::Number),
        Entry::new("product_ref", "Product id of a subscription", Input::Select)
            .choices(&[("term", "The term's SKU"), ("parent", "The parent's SKU")]),
        Entry::new(
            "flush_on_revoke",
            "Settle refunds and revocations immediately, without the quiet window",
            Input::Switch,
        ),
        Entry::new("unknown_receipts", "Receipts unknown to Amazon", Input::Select)
            .choices(&[("give_up", "Give up after a day"), ("believe", "Trust the notifications after a day")]),
        Entry::new("transfers", "A login on a device with another customer's receipts", Input::Select)
            .help(
                "If purchases move immediately, anyone who logs in with a receipt and its Amazon user id gets that \
                 customer's purchases. Purchases without a logged-in customer always move.",
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

const fn step(title: &'static str, text: &'static str) -> Step {
    Step {
        title,
        text,
        place: "Amazon Developer Console",
        copy: None,
        url: None,
        evidence: None,
    }
}

fn guide() -> Vec<Step> {
    vec![
        Step {
            place: "settle",
            ..step(
                "Name the account that sends",
                "Amazon's topics belong to one of Amazon's AWS accounts. If you know the account number, add it to the setting \
                 amazon.auto_confirm_accounts first: the account's first topic then needs no approval. Otherwise you approve the topic \
                 below.",
            )
        },
        Step {
            copy: Some("notification_url"),
            place: "settle",
            ..step(
                "Copy the URL for Appstore notifications",
                "Amazon must reach it over HTTPS, with a certificate from a public authority. It contains a secret.",
            )
        },
        Step {
            url: Some(CONSOLE),
            ..step(
                "Open your app",
                "Under Amazon Appstore choose App List, and select your app.",
            )
        },
        step(
            "Open App Services",
            "Choose App Services in the menu on the left.",
        ),
        step(
            "Add an endpoint",
            "Under Real-Time Notifications choose Add an Endpoint.",
        ),
        step(
            "Paste the URL",
            "Paste it into URL for Appstore notifications, and submit.",
        ),
        Step {
            place: "settle",
            ..step(
                "Approve the topic",
                "Amazon asks to send from an SNS topic. Approve it only if the account number in its ARN is Amazon's \
                 (033616359524 in Amazon's examples): anyone can send such a request. Notifications wait two days for your \
                 decision. Then the request expires, and they are refused.",
            )
        },
        step(
            "Check that it is verified",
            "The console shows Verified. If it does not within two days, press Resend there.",
        ),
    ]
}
