//! The platform fields that only the App Store has. The bundle id is not one of them: it is the package name, which all
//! platforms have.
//!
//! Each error is one sentence that says what to enter. It repeats nothing that was entered, because that may be a
//! secret.

use super::settings::{ACCOUNT_IDS, APP_APPLE_ID, ISSUER_ID, KEY_ID, PRIVATE_KEY};
use crate::clock;
use crate::stores::WrongOwnField;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::text::trimmed;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use storage::StorePart;
use uuid::Uuid;

/// Names of all fields.
pub const NAMES: [&str; 5] = [APP_APPLE_ID, ISSUER_ID, KEY_ID, PRIVATE_KEY, ACCOUNT_IDS];

/// Flags of `settle platform update` that set the credentials.
pub const CREDENTIAL_FLAGS: &str =
    "--store-setting issuer_id=ID --store-setting key_id=ID --store-setting private_key=@FILE";

/// Names under which the bundle id may be entered by mistake.
const BUNDLE_NAMES: [&str; 3] = ["package_name", "bundle_id", "bundle"];
const MAX_BUNDLE_CHARS: usize = 155;
/// Maximum number of an app's digits. Apple's have ten.
const MAX_APPLE_ID_DIGITS: usize = 15;
/// Length of an issuer id with its hyphens.
const ISSUER_CHARS: usize = 36;
/// Maximum length of a key's id. Apple's have ten characters.
const MAX_KEY_ID_CHARS: usize = 20;
/// Maximum size of a key file. Apple's have about 250 bytes.
const MAX_KEY_BYTES: usize = 4 * 1024;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

const EXPECTED_PLACE: &str = "nothing: the bundle id is a field of the platform itself, `package_name`, not of its store \
                              settings";
const EXPECTED_NAMES: &str =
    "no fields other than app_apple_id, issuer_id, key_id, private_key and account_ids";
const EXPECTED_BUNDLE: &str = "the bundle id that App Store Connect shows under App Information, such as \
                               com.example.radio: letters, digits, hyphens and dots, without a wildcard";
const EXPECTED_APPLE_ID: &str = "the Apple ID of the app, a number such as 1234567890 that App Store Connect shows under App \
                                 Information, not the address with which you sign in";
const EXPECTED_ISSUER: &str = "the issuer id that App Store Connect shows above the keys, such as \
                               57246542-96fe-1a63-e053-0824d011072a";
const EXPECTED_KEY_ID: &str = "the key id that App Store Connect shows beside the In-App Purchase key, such as 2X9R4HXF34: \
                               capital letters and digits, without the rest of the file's name";
const EXPECTED_ACCOUNT_IDS: &str = "`external` if the app sets its own customer ids as app account tokens, or `opaque` if it \
                                    sets other values or none";
const EXPECTED_TEXT: &str = "the whole text of the In-App Purchase key file (.p8), from its line BEGIN PRIVATE KEY to its line \
                             END PRIVATE KEY: on the command line, `--store-setting private_key=@FILE` reads it";
const EXPECTED_KEY: &str = "a whole P-256 private key as App Store Connect generates it: create an In-App Purchase key under \
                            Users and Access, Integrations, and upload its .p8 file unchanged";

/// Checks a text; the error is what is expected instead.
type CheckText = fn(&str) -> Result<(), &'static str>;

/// The settings, with their checks.
const SETTINGS: [(&str, CheckText); 4] = [
    (APP_APPLE_ID, check_apple_id),
    (ISSUER_ID, check_issuer),
    (KEY_ID, check_key_id),
    (ACCOUNT_IDS, check_account_ids),
];

/// Reads the fields. All are optional: what Apple signed is settled without a key, which only queries need.
///
/// # Errors
/// Every wrong field.
pub fn read(fields: &Map<String, Value>) -> Result<StorePart, Vec<WrongOwnField>> {
    let mut wrong = misplaced(fields);
    let mut settings = Map::new();
    for (name, check) in SETTINGS {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let text = trimmed(value.as_str().unwrap_or_default());
        match check(text) {
            Ok(()) => drop(settings.insert(name.to_owned(), text.into())),
            Err(expected) => wrong.push(wrong_field(name, expected)),
        }
    }
    let credentials = fields.get(PRIVATE_KEY).map(credentials);
    let credentials = credentials.transpose().unwrap_or_else(|expected| {
        wrong.push(wrong_field(PRIVATE_KEY, expected));
        None
    });
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(StorePart {
        settings: (!settings.is_empty()).then(|| settings.into()),
        credentials,
    })
}

/// Checks the bundle id of a platform.
/// <https://developer.apple.com/documentation/bundleresources/information-property-list/cfbundleidentifier>
///
/// # Errors
/// What is expected instead.
pub fn check_package(name: &str) -> Result<(), &'static str> {
    let is_part = |part: &str| {
        let mut letters = part.chars();
        !part.is_empty() && letters.all(|one| one.is_ascii_alphanumeric() || one == '-')
    };
    let is_bundle = name.len() <= MAX_BUNDLE_CHARS && name.split('.').all(is_part);
    is_bundle.then_some(()).ok_or(EXPECTED_BUNDLE)
}

/// Returns errors for fields that do not belong here.
fn misplaced(fields: &Map<String, Value>) -> Vec<WrongOwnField> {
    let mut wrong = Vec::new();
    let mut has_others = false;
    for name in fields.keys().map(String::as_str) {
        if let Some(bundle) = BUNDLE_NAMES.into_iter().find(|bundle| *bundle == name) {
            wrong.push(wrong_field(bundle, EXPECTED_PLACE));
        } else {
            has_others |= !NAMES.contains(&name);
        }
    }
    if has_others {
        wrong.push(wrong_field("*", EXPECTED_NAMES));
    }
    wrong
}

fn wrong_field(field: &'static str, expected: &str) -> WrongOwnField {
    WrongOwnField {
        field,
        expected: expected.to_owned(),
    }
}

fn check_apple_id(text: &str) -> Result<(), &'static str> {
    let is_number = (1..=MAX_APPLE_ID_DIGITS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0');
    is_number.then_some(()).ok_or(EXPECTED_APPLE_ID)
}

fn check_issuer(text: &str) -> Result<(), &'static str> {
    let is_id = text.len() == ISSUER_CHARS && Uuid::try_parse(text).is_ok();
    is_id.then_some(()).ok_or(EXPECTED_ISSUER)
}

fn check_key_id(text: &str) -> Result<(), &'static str> {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let is_id = (1..=MAX_KEY_ID_CHARS).contains(&text.len()) && text.bytes().all(is_part);
    is_id.then_some(()).ok_or(EXPECTED_KEY_ID)
}

fn check_account_ids(text: &str) -> Result<(), &'static str> {
    let is_known = matches!(text, "external" | "opaque");
    is_known.then_some(()).ok_or(EXPECTED_ACCOUNT_IDS)
}

/// Returns the credentials that are stored for a key file.
fn credentials(file: &Value) -> Result<SecretString, &'static str> {
    let text = file.as_str().map(trimmed).unwrap_or_default();
    let (before, rest) = text.split_once(PEM_BEGIN).ok_or(EXPECTED_TEXT)?;
    let (encoded, after) = rest.split_once(PEM_END).ok_or(EXPECTED_TEXT)?;
    if !before.is_empty() || !after.is_empty() || text.len() > MAX_KEY_BYTES {
        return Err(EXPECTED_TEXT);
    }
    if !is_key(encoded) {
        return Err(EXPECTED_KEY);
    }
    Ok(json!({ PRIVATE_KEY: text }).to_string().into())
}

/// Returns whether a text is a P-256 private key in PKCS #8, as base64 in lines.
fn is_key(encoded: &str) -> bool {
    let encoded: String = encoded.split_whitespace().collect();
    let der = STANDARD.decode(encoded).unwrap_or_default();
    let random = clock::random();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).is_ok()
}
