//! Placeholders that programs write where they have no value, such as `undefined`. If such a text were accepted as an
//! id, all customers, products or entitlements without an id would be merged. This is the only list of placeholders; a
//! destination may refuse fewer of them.

use crate::text::visible;
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

/// Kinds of placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// No visible characters, or only punctuation.
    Blank,
    /// A word for "no value".
    Missing,
    /// A number or UUID that was never set.
    Zero,
    /// An object printed as text.
    Object,
    /// A template that was not filled in.
    Template,
    /// The hash of an empty text or of a word for "no value".
    Hash,
}

impl Placeholder {
    /// Returns the sender's mistake, phrased as the end of a sentence.
    pub const fn mistake(self) -> &'static str {
        match self {
            Self::Blank => "it is blank, so the program sent it before it had a value",
            Self::Missing => {
                "programs write that where they have no value, and everyone without one would share it"
            }
            Self::Zero => {
                "that is a number or UUID that was never set, and everyone without one would share it"
            }
            Self::Object => {
                "that is an object written as text: send the field of it that is the id"
            }
            Self::Template => "that is a template whose value was not filled in",
            Self::Hash => "that is the hash of an empty text or of a word for `no value`",
        }
    }
}

/// Words for "no value" in lower case, and constants that many devices have in common.
const NAMES: &str = r"
    #n/a | #null! | #ref! | 02:00:00:00:00:00 | 9774d56d682e549c | \0 | \n | \u0000 | \x00 | 4294967295 |
    18446744073709551615 | -1 | -1.0 | -nan | anon | anonymous | app_user_id | blank | customer_id |
    customerid | distinct_id | empty | external_id | false | guest | inf | infinity | invalid | lmy47d |
    missing | n.a. | n/a | na | nan | nil | no id | no user | no value | no-id | no-user | no-value | no_id |
    no_user | no_value | none | nouser | not available | not provided | not set | not-set | not_set | nothing | null |
    nullptr | optional.empty | optional.none | true | undefined | unidentified | unknown | unset | user_id |
    void
";
/// Words that make a text a placeholder if all its other words are [`FILLERS`].
const STRONG: [&str; 10] = [
    "anon",
    "anonymous",
    "guest",
    "nan",
    "nil",
    "none",
    "null",
    "undefined",
    "unidentified",
    "unknown",
];
/// Words that do not name a customer by themselves.
const FILLERS: [&str; 11] = [
    "account", "customer", "email", "id", "name", "not", "set", "uid", "user", "userid", "username",
];
/// MD5 and SHA-1 of the empty text.
const EMPTY_HASHES: [&str; 2] = [
    "d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
];
/// Further spellings of "no value" that programs hash.
const HASHED: [&str; 7] = [
    "",
    "0",
    "NULL",
    "None",
    "NaN",
    "Undefined",
    "[object Object]",
];
/// Beginnings of printed objects that end with a parenthesis.
const CALLS: [&str; 9] = [
    "optional(",
    "some(",
    "just(",
    "symbol(",
    "function(",
    "function ",
    "async ",
    "ok(",
    "class(",
];

fn names() -> impl Iterator<Item = &'static str> {
    NAMES.split('|').map(str::trim)
}

/// Returns the kind of placeholder, if the text is one. Case, and blanks and quotes around the text, do not matter.
pub fn placeholder(text: &str) -> Option<Placeholder> {
    let shown = visible(&text.nfkc().collect::<String>());
    let bare = unquoted(&shown);
    let lower = bare.to_lowercase();
    let is_ascii_mark = |letter: char| letter.is_ascii_punctuation() || letter == ' ';
    if lower.chars().all(is_ascii_mark) {
        return Some(if OBJECTS_ALONE.contains(&lower.as_str()) {
            Placeholder::Object
        } else {
            Placeholder::Blank
        });
    }
    if is_missing(&lower) {
        return Some(Placeholder::Missing);
    }
    if is_zero(&lower) {
        return Some(Placeholder::Zero);
    }
    if is_template(&lower) {
        return Some(Placeholder::Template);
    }
    if is_object(bare, &lower) {
        return Some(Placeholder::Object);
    }
    is_hash_of_nothing(&lower).then_some(Placeholder::Hash)
}

/// Empty objects and lists.
const OBJECTS_ALONE: [&str; 3] = ["{}", "[]", "<>"];

/// Returns a text without quotes around it.
fn unquoted(text: &str) -> &str {
    let is_quote =
        |letter: char| matches!(letter, '"' | '\'' | '`' | '\u{201C}' | '\u{201D}' | ' ');
    let inner = text.trim_matches(is_quote);
    if inner.is_empty() { text } else { inner }
}

/// Whether a text is a word for "no value", possibly in brackets, or consists of such words and fillers.
fn is_missing(lower: &str) -> bool {
    let pairs = [('(', ')'), ('<', '>'), ('[', ']'), ('{', '}')];
    let inside = pairs
        .iter()
        .find_map(|(open, close)| lower.strip_prefix(*open)?.strip_suffix(*close));
    let inside = inside.map_or(lower, unquoted);
    let mut parts = inside
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .peekable();
    let is_composed = parts.peek().is_some()
        && parts.clone().any(|part| STRONG.contains(&part))
        && parts.all(|part| STRONG.contains(&part) || FILLERS.contains(&part));
    names().any(|name| name == inside || name == lower) || is_composed
}

/// Whether 0 is the only digit of a text, as in `0.0` and the nil UUID, or the text is the maximum UUID.
fn is_zero(lower: &str) -> bool {
    let digits: String = lower
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    let is_all = |wanted: char| !digits.is_empty() && digits.chars().all(|letter| letter == wanted);
    is_all('0') || digits.len() == 32 && is_all('f')
}

fn is_template(lower: &str) -> bool {
    let is_between = |open: &str, close: &str| lower.starts_with(open) && lower.ends_with(close);
    let is_format = |text: &str| {
        let text = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '$');
        matches!(
            text,
            "s" | "d" | "i" | "u" | "x" | "v" | "+v" | "q" | "ld" | "lu" | "lld" | "llu"
        )
    };
    let is_named = |text: &str| {
        text.chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter))
    };
    is_between("{{", "}}")
        || is_between("${", "}")
        || is_between("$(", ")")
        || is_between("<%", "%>")
        || lower.len() > 2 && is_between("%", "%")
        || lower.strip_prefix('%').is_some_and(is_format)
        || lower
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .is_some_and(|name| is_named(name) && name.parse::<Uuid>().is_err())
}

/// Whether a text is an object in the form in which programs print it. A UUID in braces is an id.
fn is_object(bare: &str, lower: &str) -> bool {
    let is_between = |open: char, close: char| lower.starts_with(open) && lower.ends_with(close);
    let is_uuid = lower
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|id| id.parse::<Uuid>().is_ok());
    let is_call = lower.ends_with(')') && CALLS.iter().any(|call| lower.starts_with(call))
        || lower.ends_with(')')
            && lower.split_once('(').is_some_and(|(name, rest)| {
                name.chars().all(char::is_alphanumeric) && rest.contains('=')
            });
    let is_bytes = (lower.starts_with("b'") || lower.starts_with("b\"")) && lower.len() > 2;
    is_between('<', '>')
        || is_between('[', ']')
        || lower.ends_with('}') && lower.contains('{') && !is_uuid
        || lower.ends_with(']')
            && ["optional[", "map[", "object["]
                .iter()
                .any(|open| lower.starts_with(open))
        || ["#<", "%!", "function ", "class "]
            .iter()
            .any(|open| lower.starts_with(open))
        || lower.contains("=>")
        || is_call
        || is_bytes
        || is_address_of_java(bare)
}

/// Whether a text is what Java's `Object.toString` returns: `com.example.User@1b6d3586`, `[B@6d06d69c`.
fn is_address_of_java(bare: &str) -> bool {
    let Some((class, hash)) = bare.rsplit_once('@') else {
        return false;
    };
    let is_hex = hash
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // Nearly every hash contains a digit, and few host names do.
    let is_hash = (4..=8).contains(&hash.len())
        && is_hex
        && hash.contains(|letter: char| letter.is_ascii_digit());
    let last = class.rsplit(['.', '$']).next().unwrap_or_default();
    let is_class =
        class.contains(['.', '$']) && last.starts_with(|first: char| first.is_ascii_uppercase());
    is_hash && (class.starts_with('[') || is_class)
}

fn is_hash_of_nothing(lower: &str) -> bool {
    let is_hex = lower.len() == 64 && lower.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_of = |name: &str| {
        let digest = Sha256::digest(name.as_bytes());
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            == lower
    };
    EMPTY_HASHES.contains(&lower) || is_hex && names().chain(HASHED).any(is_of)
}

#[cfg(test)]
mod tests {
    use super::{Placeholder, placeholder};

    const NAMES: &str = r#"undefined | null | NULL | Null | none | None | nil | (null) | <null> | <nil> | NaN | unknown
        | Anonymous | guest | no_user | no user | -1 | "undefined" | n/a | #N/A | (not set) | not_set | [null] | {null}
        | user_undefined | undefined-undefined | guest_user | null@null | unidentified | \x00 | LMY47D | anonymous user
        | 9774d56d682e549c | false | distinct_id | 02:00:00:00:00:00 | 18446744073709551615"#;
    const ZEROS: &str =
        "0 | 00 | 0.0 | -0 | 0x0 | 00000000-0000-0000-0000-000000000000 | 00:00:00:00:00:00
        | {00000000-0000-0000-0000-000000000000} | 00000000000000000000000000000000
        | FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF";
    const OBJECTS: &str = r#"[] | {} | [object Object] | [object Undefined] | Optional(nil) | Optional("anna")
        | Optional[anna] | Some("anna") | {"id":5} | ["anna"] | <User: 0x600000> | #<User:0x000055>
        | <__main__.User object at 0x7f> | com.example.User@1b6d3586 | [B@6d06d69c | User(id=null, name=Anna)
        | User{id=1} | Promise { <pending> } | function () { return 1 } | () => id | b'anna' | %!s(<nil>) | map[id:1]
        | Symbol(id)"#;
    const TEMPLATES: &str =
        "{{user.id}} | ${userId} | {userId} | {1} | %s | %1$s | %USER_ID% | <%= id %> | $(id)";
    const HASHES: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        | EB045D78D273107348B0300C01D29B7552D622ABBC6FAF81B3EC55359AA9950C | d41d8cd98f00b204e9800998ecf8427e
        | 74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b";
    const IDS: &str =
        "anna | anna@example.com | anna@cafe | Anna.Smith@cafe | user@email.no | Noname | NA-4711 | nullify
        | nonesuch | guest123 | unknown-artist | 1 | -2 | 10 | 0a | {6F9619FF-8B86-D011-B42D-00C04FC964FF}
        | 6F9619FF-8B86-D011-B42D-00C04FC964FF | amzn1.account.AE3F | l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=
        | -KbQ= | Žofie | 😀 | 用户 | John (Smith) | John Smith [work] | null.pointer@example.com | no-ads | gold
        | com.example.gold.month | premium | default | test | user_17 | user_id_17 | %41 | 100%
        | 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn what_programs_write_for_no_value_is_no_id() {
        for text in [
            "",
            " ",
            "\u{a0}\u{200b}",
            "-",
            "--",
            "...",
            "?",
            "\"\"",
            "''",
            "()",
            "\u{feff}",
            "\u{ff0d}",
        ] {
            assert_eq!(placeholder(text), Some(Placeholder::Blank), "{text:?}");
        }
        for (kind, texts) in [
            (Placeholder::Missing, NAMES),
            (Placeholder::Zero, ZEROS),
            (Placeholder::Object, OBJECTS),
            (Placeholder::Template, TEMPLATES),
            (Placeholder::Hash, HASHES),
        ] {
            for text in texts
                .split(" | ")
                .flat_map(|text| text.split("\n        | "))
            {
                assert_eq!(placeholder(text), Some(kind), "{text:?}");
                assert_eq!(
                    placeholder(&format!(" {text}\u{200b}\n")),
                    Some(kind),
                    "{text:?} with blanks"
                );
            }
        }
    }

    #[test]
    fn an_odd_id_is_an_id() {
        for text in IDS.split(" | ").flat_map(|text| text.split("\n        | ")) {
            assert_eq!(placeholder(text), None, "{text:?}");
        }
    }
}
