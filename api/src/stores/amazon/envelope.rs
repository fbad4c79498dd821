//! The SNS document around a message. It is parsed once and strictly, and borrows from the body.
//!
//! The fields that SNS does not sign (`UnsubscribeURL`, `MessageAttributes`) and all HTTP headers are ignored.

use super::refusal::Refusal;
use domain::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use uuid::Uuid;

/// Maximum size of a body: 2 MiB. A message of 1 MiB in which every second character is escaped still fits.
pub const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// How far a message's time may be ahead of this machine's clock, in milliseconds.
pub(super) const MAX_AHEAD_MS: i64 = 15 * 60 * 1000;
/// Maximum number of unknown keys in a document; real documents have ten or eleven keys in total.
const MAX_UNKNOWN_KEYS: usize = 64;

/// An SNS document whose fields have the right format. Its signature is not verified yet.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Type of the document, with the fields that only this type has.
    pub kind: Kind<'a>,
    /// Id of the message, the same on every retry.
    pub message_id: Cow<'a, str>,
    /// ARN of the topic that claims to have sent the message.
    pub topic_arn: Cow<'a, str>,
    pub message: Cow<'a, str>,
    /// When the message was published, as SNS wrote it: the signature covers this text.
    pub timestamp: Cow<'a, str>,
    pub at: Timestamp,
    pub version: Version,
    pub signature: Cow<'a, str>,
    /// URL of the signing certificate. The signature does not cover it.
    pub certificate_url: Cow<'a, str>,
}

#[derive(Debug)]
pub enum Kind<'a> {
    Notification {
        subject: Option<Cow<'a, str>>,
    },
    /// The topic requests confirmation before it sends to this URL.
    SubscriptionConfirmation(Link<'a>),
    UnsubscribeConfirmation(Link<'a>),
}

/// The confirmation link of a subscription. The link is enough to confirm the subscription, so it is never logged.
pub struct Link<'a> {
    pub subscribe_url: Cow<'a, str>,
    pub token: Cow<'a, str>,
}

impl fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link([REDACTED])")
    }
}

/// `SignatureVersion`: the two signature algorithms of SNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RSA PKCS#1 v1.5 with SHA-1, the default.
    One,
    Two,
}

/// Parses a body.
///
/// # Errors
/// The body is not a valid SNS document.
pub fn parse(body: &[u8]) -> Result<Envelope<'_>, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::TooLarge);
    }
    let fields: Fields<'_> =
        serde_json::from_slice(body).map_err(|_| Refusal::Invalid("body is not a JSON object"))?;
    fields.envelope()
}

impl Envelope<'_> {
    /// Refuses a message from the future. The refusal is temporary, because this machine's clock may be slow. Old
    /// messages are accepted: SNS repeats a message for an hour, and a repetition changes nothing.
    ///
    /// # Errors
    /// The message's time is more than 15 minutes ahead of `now`.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.at > now.plus_millis(MAX_AHEAD_MS) {
            return Err(Refusal::TryAgain("Timestamp is in the future"));
        }
        Ok(())
    }
}

/// The value of a field that is not null.
#[derive(Debug)]
enum FieldValue<'a> {
    Text(Cow<'a, str>),
    Other,
}

/// Known fields of a document.
#[derive(Debug, Default)]
struct Fields<'a> {
    /// Fields by index: `None` when absent, `Some(None)` when null.
    slots: [Option<Option<FieldValue<'a>>>; NAMES.len()],
    has_duplicates: bool,
    has_too_many: bool,
}

/// A known field: its index in [`Fields`], and the reasons for a refusal if it is missing or not a string.
struct Name {
    index: usize,
    missing: &'static str,
    not_a_string: &'static str,
}

macro_rules! names {
    ($($constant:ident = $index:literal $name:literal;)*) => {
        $(const $constant: Name = Name {
            index: $index,
            missing: concat!($name, " is missing"),
            not_a_string: concat!($name, " is not a string"),
        };)*
        /// Names of the fields, by index.
        const NAMES: &[&str] = &[$($name),*];
    };
}

names! {
    TYPE = 0 "Type";
    MESSAGE_ID = 1 "MessageId";
    TOPIC_ARN = 2 "TopicArn";
    MESSAGE = 3 "Message";
    TIMESTAMP = 4 "Timestamp";
    SIGNATURE_VERSION = 5 "SignatureVersion";
    SIGNATURE = 6 "Signature";
    SIGNING_CERT_URL = 7 "SigningCertURL";
    SUBJECT = 8 "Subject";
    SUBSCRIBE_URL = 9 "SubscribeURL";
    TOKEN = 10 "Token";
}

impl<'a> Fields<'a> {
    fn envelope(mut self) -> Result<Envelope<'a>, Refusal> {
        if self.has_duplicates {
            return Err(Refusal::Invalid("a key appears twice"));
        }
        if self.has_too_many {
            return Err(Refusal::Invalid("too many keys"));
        }
        let kind = self.kind()?;
        let message_id = self.text(&MESSAGE_ID)?;
        check_message_id(&message_id)?;
        let topic_arn = self.text(&TOPIC_ARN)?;
        let message = self.text(&MESSAGE)?;
        let timestamp = self.text(&TIMESTAMP)?;
        let at = instant(&timestamp).ok_or(Refusal::Invalid("Timestamp is not a UTC time"))?;
        let version = match &*self.text(&SIGNATURE_VERSION)? {
            "1" => Version::One,
            "2" => Version::Two,
            _ => return Err(Refusal::Invalid("SignatureVersion is neither 1 nor 2")),
        };
        let signature = self.text(&SIGNATURE)?;
        let certificate_url = self.text(&SIGNING_CERT_URL)?;
        Ok(Envelope {
            kind,
            message_id,
            topic_arn,
            message,
            timestamp,
            at,
            version,
            signature,
            certificate_url,
        })
    }

    fn kind(&mut self) -> Result<Kind<'a>, Refusal> {
        match &*self.text(&TYPE)? {
            "Notification" => Ok(Kind::Notification {
                subject: self.optional(&SUBJECT)?,
            }),
            "SubscriptionConfirmation" => Ok(Kind::SubscriptionConfirmation(self.link()?)),
            "UnsubscribeConfirmation" => Ok(Kind::UnsubscribeConfirmation(self.link()?)),
            _ => Err(Refusal::Invalid("Type is unknown")),
        }
    }

    fn link(&mut self) -> Result<Link<'a>, Refusal> {
        Ok(Link {
            subscribe_url: self.text(&SUBSCRIBE_URL)?,
            token: self.text(&TOKEN)?,
        })
    }

    fn text(&mut self, name: &Name) -> Result<Cow<'a, str>, Refusal> {
        match self.slots.get_mut(name.index).and_then(Option::take) {
            Some(Some(FieldValue::Text(text))) => Ok(text),
            None => Err(Refusal::Invalid(name.missing)),
            Some(_) => Err(Refusal::Invalid(name.not_a_string)),
        }
    }

    /// Returns an optional string field; null counts as absent.
    fn optional(&mut self, name: &Name) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self
            .slots
            .get_mut(name.index)
            .and_then(Option::take)
            .flatten()
        {
            Some(FieldValue::Text(text)) => Ok(Some(text)),
            None => Ok(None),
            Some(FieldValue::Other) => Err(Refusal::Invalid(name.not_a_string)),
        }
    }
}

fn check_message_id(text: &str) -> Result<(), Refusal> {
    // Of the formats that the parser accepts, only the hyphenated one has 36 characters.
    if text.len() == 36 && Uuid::try_parse(text).is_ok() {
        return Ok(());
    }
    Err(Refusal::Invalid("MessageId is not a UUID"))
}

/// Parses `2026-01-31T12:00:00.000Z`. The fraction is optional; no other format is accepted.
fn instant(text: &str) -> Option<Timestamp> {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(SHAPE.len())?;
    let head_fits = head.iter().zip(SHAPE).all(|(byte, like)| match like {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let fraction = tail.strip_suffix(b"Z")?;
    let fraction_fits = match fraction.strip_prefix(b".") {
        Some(digits) => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        None => fraction.is_empty(),
    };
    if head_fits && fraction_fits {
        text.parse().ok()
    } else {
        None
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        let mut unknown = HashSet::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            if let Some(index) = NAMES.iter().position(|name| *name == key) {
                let found = Some(map.next_value::<Option<FieldValue<'de>>>()?);
                let before = fields
                    .slots
                    .get_mut(index)
                    .and_then(|slot| std::mem::replace(slot, found));
                fields.has_duplicates |= before.is_some();
            } else {
                map.next_value::<IgnoredAny>()?;
                fields.has_too_many |= unknown.len() >= MAX_UNKNOWN_KEYS;
                if !fields.has_too_many {
                    fields.has_duplicates |= !unknown.insert(key);
                }
            }
        }
        Ok(fields)
    }
}

/// Reads a value but stores it only if it is a string, because the message is not verified yet.
struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = FieldValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FieldValue<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldValue<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Other)
    }
}

impl<'de> Deserialize<'de> for FieldValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FoundVisitor)
    }
}

/// A string, borrowed from the body if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
