//! `settle verify`: whether a message is genuine.

use super::{ran, stderr_of, stdout_of};
use api::stores::amazon::envelope::Version;
use api::stores::amazon::signer::{Header, Signer};
use std::process::Output;
use system_tests::folder::Folder;

/// Returns a message signed in the form of SNS, and writes the certificate, valid from 2026 to 2028, into the folder.
fn signed(folder: &Folder, version: Version) -> String {
    let at = |text: &str| text.parse().expect("a time");
    let signer =
        Signer::generate(at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z")).expect("a key");
    std::fs::write(
        folder.path().join("certificate.pem"),
        signer.certificate_pem().expect("PEM"),
    )
    .expect("a certificate");
    let letter = Header {
        message_id: "17dea24b-55c2-540b-8362-f916557af765"
            .parse()
            .expect("an id"),
        topic_arn: "arn:aws:sns:us-east-1:033616359524:settle",
        at: at("2026-06-01T12:00:00Z"),
        version,
    };
    signer
        .sign_notification(
            &letter,
            Some("a subject"),
            "Hello world\n\u{1F600} \"quoted\"",
        )
        .expect("a message")
}

fn verify(folder: &Folder, message: &str, at: &str) -> Output {
    std::fs::write(folder.path().join("message.json"), message).expect("a message");
    ran(
        folder,
        &[
            "amazon",
            "verify",
            "--message",
            "message.json",
            "--certificate",
            "certificate.pem",
            "--at",
            at,
        ],
    )
}

#[test]
fn a_genuine_message_is_valid() {
    for version in [Version::One, Version::Two] {
        let folder = Folder::new("valid");
        let output = verify(&folder, &signed(&folder, version), "2026-06-01T12:00:00Z");
        assert_eq!(
            (output.status.code(), stdout_of(&output).as_str()),
            (Some(0), "valid\n"),
            "{}",
            stderr_of(&output)
        );
        // Each form of a time is accepted; whether the message is valid depends on the certificate's validity then.
        for at in ["2026-06-01", "yesterday", "2h"] {
            let shown = verify(&folder, &signed(&folder, version), at);
            assert!(
                stdout_of(&shown).lines().count() == 1 && stderr_of(&shown).is_empty(),
                "{at}: {}",
                stderr_of(&shown)
            );
        }
    }
}

#[test]
fn a_changed_message_and_another_time_are_refused_with_a_reason() {
    let folder = Folder::new("refused");
    let genuine = signed(&folder, Version::Two);
    let changed = verify(
        &folder,
        &genuine.replace("Hello world", "Hello World"),
        "2026-06-01T12:00:00Z",
    );
    assert_eq!(
        (changed.status.code(), stdout_of(&changed).as_str()),
        (Some(1), "refused: signature is wrong\n")
    );
    for (message, at) in [
        (genuine.as_str(), "2029-01-01T00:00:00Z"),
        (&genuine, "2026-02-01T00:00:00Z"),
        ("{}", "2026-06-01T12:00:00Z"),
    ] {
        let output = verify(&folder, message, at);
        assert_eq!(output.status.code(), Some(1), "{at}");
        assert!(
            stdout_of(&output).starts_with("refused: "),
            "{at}: {}",
            stdout_of(&output)
        );
    }
}
