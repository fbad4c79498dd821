//! Four messages that AWS signed, from the test data of its own libraries. They are not part of this repository; where
//! they are missing, only our own vectors test the format.

use super::super::verify_file;
use super::{at, workspace};
use std::path::PathBuf;

const LIFE: [&str; 2] = ["2021-09-07T00:00:00Z", "2022-08-17T23:59:59Z"];
const DURING: &str = "2022-07-29T00:00:00Z";

struct Real {
    certificate: Vec<u8>,
    messages: Vec<(String, String)>,
}

fn real() -> Option<Real> {
    let folder: PathBuf = workspace().join("../shared/fixtures/sns-signed");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!(
            "left out: messages signed by AWS are not beside this repository (shared/fixtures/sns-signed)"
        );
        return None;
    };
    let mut real = Real {
        certificate: Vec::new(),
        messages: Vec::new(),
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".pem") {
            real.certificate = std::fs::read(&path).expect("a certificate");
        } else if name.ends_with(".json") {
            real.messages
                .push((name, std::fs::read_to_string(&path).expect("a message")));
        }
    }
    assert_eq!(real.messages.len(), 4);
    Some(real)
}

fn verdict(real: &Real, message: &str, when: &str) -> Result<(), String> {
    verify_file(message.as_bytes(), &real.certificate, at(when))
        .map_err(|refusal| refusal.to_string())
}

#[test]
fn aws_messages_are_valid_while_their_certificate_is() {
    let Some(real) = real() else { return };
    for (name, message) in &real.messages {
        for when in [DURING, LIFE[1]] {
            assert_eq!(verdict(&real, message, when), Ok(()), "{name} at {when}");
        }
        let after = verdict(&real, message, "2022-08-18T00:00:00Z");
        assert_eq!(after, Err("certificate has expired".to_owned()), "{name}");
        let before = verdict(&real, message, "2021-09-06T23:59:59Z");
        assert_eq!(
            before,
            Err("certificate is not valid yet".to_owned()),
            "{name}"
        );
        assert_eq!(
            verdict(&real, message, LIFE[0]),
            Err("Timestamp is in the future".to_owned()),
            "{name}"
        );
    }
}

#[test]
fn an_aws_message_with_one_changed_signed_byte_is_refused() {
    let Some(real) = real() else { return };
    for (name, message) in &real.messages {
        let document: serde_json::Value = serde_json::from_str(message).expect("JSON");
        for (field, value) in document.as_object().expect("an object") {
            if field == "UnsubscribeURL" {
                continue;
            }
            let value = value.as_str().expect("a string");
            for place in 0..value.len() {
                let mut bytes = value.as_bytes().to_vec();
                bytes[place] = if bytes[place] == b'1' { b'2' } else { b'1' };
                let mut changed = document.clone();
                changed[field] = String::from_utf8(bytes).expect("ASCII").into();
                // `verify_file` does not fetch the URL, so any 32 hex digits in its file name are accepted.
                let is_name = field == "SigningCertURL"
                    && verdict(&real, &changed.to_string(), DURING).is_ok();
                let is_digit = value[place..].len() <= "ffffffffffffffffffffffffffffffff.pem".len()
                    && value[place..].len() > ".pem".len();
                assert!(
                    is_name && is_digit || verdict(&real, &changed.to_string(), DURING).is_err(),
                    "{name} {field} {place}"
                );
            }
        }
    }
}

#[test]
fn an_aws_message_with_another_version_or_subject_is_refused() {
    let Some(real) = real() else { return };
    for (name, message) in &real.messages {
        let mut swapped: serde_json::Value = serde_json::from_str(message).expect("JSON");
        let other = if swapped["SignatureVersion"] == "1" {
            "2"
        } else {
            "1"
        };
        swapped["SignatureVersion"] = other.into();
        assert_eq!(
            verdict(&real, &swapped.to_string(), DURING),
            Err("signature is wrong".to_owned()),
            "{name}"
        );
        let mut subject: serde_json::Value = serde_json::from_str(message).expect("JSON");
        let fields = subject.as_object_mut().expect("an object");
        if fields.remove("Subject").is_none() {
            fields.insert("Subject".to_owned(), "Hello world".into());
        }
        assert_eq!(
            verdict(&real, &subject.to_string(), DURING),
            Err("signature is wrong".to_owned()),
            "{name}"
        );
    }
}
