//! Mails about events: sent over TLS with a login, repeated until the server accepts them, and given up when it refuses
//! one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::time::Duration;
use system_tests::folder::Folder;
use system_tests::mailbox::{Mailbox, Protection};
use system_tests::process::Backend;
use system_tests::wait;
use system_tests::world::{Setting, World};

const PASSWORD: &str = "a-password-of-mails-93c1";
const PURCHASED: &str = "user.subscription.purchased";
const CANCELLED: &str = "user.subscription.cancelled";
/// Time limit until a process detects that no worker polls.
const NOTICED: Duration = Duration::from_secs(300);

/// Returns the settings with which settle sends mails to this mailbox.
fn variables(mailbox: &Mailbox, folder: &Folder) -> Vec<(String, String)> {
    let authorities = folder.path().join("authorities.pem");
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(&mailbox.authority)
    );
    std::fs::write(&authorities, pem).expect("a file of authorities");
    let variables = [
        (
            "SETTLE_MAIL_URL",
            format!(
                "smtps://settle:{PASSWORD}@localhost:{}",
                mailbox.address().port()
            ),
        ),
        ("SETTLE_MAIL_FROM", "settle <settle@example.com>".to_owned()),
        ("SSL_CERT_FILE", authorities.display().to_string()),
        ("SETTLE_LOG", "debug".to_owned()),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_repeated_until_taken_and_no_log_has_the_password() {
    let (mailbox, folder) = (Mailbox::start(Protection::Tls), Folder::new("mails"));
    let variables = variables(&mailbox, &folder);
    let mut world = World::start(Setting {
        window_seconds: 1,
        variables,
        ..Setting::default()
    })
    .await;
    let fields = json!({
        "kind": "email", "name": "on-call", "to": ["ops@example.com"], "events": [PURCHASED, CANCELLED], "schedule": [1, 1, 1],
    });
    let id = world.add(&fields).await;

    mailbox.answer_next(".", "451 4.3.0 later");
    world.send("SUBSCRIPTION_PURCHASED", "mails").await;
    world
        .wait_delivery(&id, "mails", PURCHASED, "delivered")
        .await;
    let attempts = mailbox.attempts();
    let taken: Vec<bool> = attempts.iter().map(|mail| mail.is_taken).collect();
    assert_eq!(
        (taken, &attempts[0].text),
        (vec![false, true], &attempts[1].text),
        "the same mail twice"
    );
    assert!(
        attempts[0].header("Message-ID").ends_with("@example.com>"),
        "{attempts:?}"
    );

    mailbox.answer_next("RCPT", "550 5.1.1 no such user");
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "mails").await;
    let failed = world.wait_delivery(&id, "mails", CANCELLED, "failed").await;
    assert_eq!(
        (&failed["attempts"], &failed["last_error"]),
        (&json!(1), &json!("the mail server answered 550"))
    );
    assert_eq!(mailbox.mails().len(), 1);
    let commands = mailbox.commands();
    assert!(
        commands.iter().all(|command| command.starts_with('*')),
        "{commands:?}"
    );
    assert!(
        commands.iter().any(|command| command.starts_with("*AUTH ")),
        "{commands:?}"
    );
    let logs = world.installation.logs();
    let hidden = [
        PASSWORD.to_owned(),
        STANDARD.encode(format!("\0settle\0{PASSWORD}")),
    ];
    assert!(
        hidden.iter().all(|hidden| !logs.contains(hidden)),
        "the password is in the log"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_the_mail_about_it_is_sent_all_the_same() {
    let (mailbox, folder) = (Mailbox::start(Protection::Tls), Folder::new("mails-alone"));
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        variables: variables(&mailbox, &folder),
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let fields = json!({ "kind": "email", "name": "on-call", "to": ["ops@example.com"], "events": ["alarm.opened"] });
    world.add(&fields).await;
    world.send("SUBSCRIPTION_PURCHASED", "before").await;
    world.wait_received("before", 1).await;
    world.processes()[1].kill9();
    wait::until(NOTICED, "the mail", async || {
        let mails = mailbox.mails();
        let is_sent = mails
            .iter()
            .any(|mail| mail.text.contains("Alarm: no worker"));
        if is_sent {
            Ok(())
        } else {
            Err(format!("{mails:?}"))
        }
    })
    .await;
    assert_eq!(world.api.get("/readyz").await.body["workers"], 0);
    // Everything else waits for a worker.
    world.send("SUBSCRIPTION_PURCHASED", "after").await;
    let process = world.installation.start(&["worker"], &[]);
    world.join(process);
    world.wait_received("after", 1).await;
    wait::until(NOTICED, "the end of the alarm", async || {
        let open = world
            .api
            .try_get("/v1/alarms?kind=no_worker&open=true")
            .await?
            .body;
        if open["items"] == json!([]) {
            Ok(())
        } else {
            Err(open.to_string())
        }
    })
    .await;
    world.finish().await;
}
