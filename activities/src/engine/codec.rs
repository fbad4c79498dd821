//! Encrypts payloads before they reach Temporal, and decrypts them: inputs, results, signals, memos, summaries, and the
//! texts of failures. Names and search attributes stay readable, since Temporal finds runs by them.
//!
//! An encrypted payload has the encoding `binary/encrypted` and the id of its key, as in Temporal's own samples. Its
//! data is a random nonce and the payload's protobuf, by AES-256-GCM. The newest key encrypts; all decrypt. A payload
//! that is not encrypted is taken as it is: histories from before go on, and people may still signal by script.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost::Message as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::sync::Arc;
use temporalio_common::data_converters::{
    DataConverter, DefaultFailureConverter, PayloadCodec, PayloadConversionError, PayloadConverter,
    SerializationContextData,
};
use temporalio_common::payload_visitor::{PayloadVisitable, decode_payloads, encode_payloads};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// The metadata that names an encoding, and that of an encrypted payload.
const ENCODING: &str = "encoding";
const ENCRYPTED: &[u8] = b"binary/encrypted";
/// The metadata that names the key.
const KEY_ID: &str = "encryption-key-id";

/// Why a payload cannot be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The operator must name the key.
    #[error("a payload is encrypted with the key `{id}`, and SETTLE_ENGINE_KEY has {known}")]
    MissingKey {
        /// The id of the key.
        id: String,
        /// The ids of the known keys.
        known: String,
    },
    /// The system gives no random numbers.
    #[error("a payload cannot be encrypted")]
    Random,
}

/// The keys of payloads. Clones share them. Without a key nothing is encrypted.
#[derive(Clone, Default)]
pub struct Codec {
    /// The newest first.
    keys: Arc<[NamedKey]>,
}

struct NamedKey {
    id: String,
    cipher: LessSafeKey,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("keys", &self.key_ids()).finish()
    }
}

impl Codec {
    /// Uses these keys, the newest first.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let named = |bytes: [u8; 32]| {
            let cipher = UnboundKey::new(&AES_256_GCM, &bytes).ok().map(LessSafeKey::new)?;
            Some(NamedKey { id: storage::key_id(&bytes), cipher })
        };
        Self { keys: keys.into_iter().filter_map(named).collect() }
    }

    /// The ids of the keys, the newest first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.id.as_str()).collect()
    }

    /// Encrypts a payload with the newest key; without a key it stays as it is.
    ///
    /// # Errors
    /// [`CodecError::Random`].
    pub fn encrypt(&self, payload: Payload) -> Result<Payload, CodecError> {
        let Some(key) = self.keys.first() else { return Ok(payload) };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CodecError::Random)?;
        let mut bytes = payload.encode_to_vec();
        key.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(|_| CodecError::Random)?;
        let metadata = [(ENCODING, ENCRYPTED.to_vec()), (KEY_ID, key.id.as_bytes().to_vec())];
        Ok(Payload {
            metadata: metadata.map(|(name, value)| (name.to_owned(), value)).into(),
            data: [nonce.as_slice(), &bytes].concat(),
            ..Payload::default()
        })
    }

    /// Decrypts a payload. One that is not encrypted stays as it is, and so does one that its key does not open: then
    /// it is unreadable, like any other garbage that somebody signals, and blocks no run. Every process with the key finds
    /// the same.
    ///
    /// # Errors
    /// [`CodecError::MissingKey`]: the task is tried again until a process with the key takes it, also for a signal.
    /// Nobody knows whether it is garbage, and a run that went on without it would replay differently with the key.
    pub fn decrypt(&self, payload: Payload) -> Result<Payload, CodecError> {
        if payload.metadata.get(ENCODING).map(Vec::as_slice) != Some(ENCRYPTED) {
            return Ok(payload);
        }
        let id = payload.metadata.get(KEY_ID).map(|id| String::from_utf8_lossy(id).into_owned()).unwrap_or_default();
        let Some(key) = self.keys.iter().find(|key| key.id == id) else {
            let known = self.key_ids().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(CodecError::MissingKey { id, known });
        };
        Ok(key.open(&payload.data).unwrap_or(payload))
    }

    /// Encrypts all payloads of a request.
    pub(super) async fn encode<M: PayloadVisitable>(&self, message: &mut M) -> Result<(), PayloadConversionError> {
        encode_payloads(message, self, &SerializationContextData::None).await
    }

    /// Decrypts all payloads of an answer.
    pub(super) async fn decode<M: PayloadVisitable>(&self, message: &mut M) -> Result<(), PayloadConversionError> {
        decode_payloads(message, self, &SerializationContextData::None).await
    }

    /// What clients, workers and replayers convert values with. Without a key it differs from the default in one point:
    /// an encrypted payload fails with the id of the missing key.
    #[must_use]
    pub fn converter(&self) -> DataConverter {
        // Messages and stack traces are moved into a payload, so that they are encrypted too.
        let failures = DefaultFailureConverter::new(!self.keys.is_empty());
        DataConverter::new(PayloadConverter::default(), failures, self.clone())
    }
}

impl NamedKey {
    fn open(&self, data: &[u8]) -> Option<Payload> {
        let (nonce, sealed) = data.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = sealed.to_vec();
        let plain = self.cipher.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        Payload::decode(&*plain).ok()
    }
}

impl PayloadCodec for Codec {
    fn encode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        ready(payloads.into_iter().map(|payload| self.encrypt(payload)).collect())
    }

    fn decode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        ready(payloads.into_iter().map(|payload| self.decrypt(payload)).collect())
    }
}

fn ready(
    converted: Result<Vec<Payload>, CodecError>,
) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
    let converted = converted.map_err(|error| PayloadConversionError::EncodingError(Box::new(error)));
    std::future::ready(converted).boxed()
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::{Codec, CodecError, ENCODING, ENCRYPTED, KEY_ID};
    use temporalio_common::protos::temporal::api::common::v1::Payload;

    const OLD: [u8; 32] = [7; 32];
    const NEW: [u8; 32] = [8; 32];

    fn payload() -> Payload {
        json(&serde_json::json!({ "app_user_id": "the customer" }))
    }

    #[test]
    fn an_encrypted_payload_shows_its_key_and_nothing_else() {
        let codec = Codec::new([OLD]);
        let encrypted = codec.encrypt(payload()).unwrap();
        assert_eq!(encrypted.metadata.len(), 2, "{encrypted:?}");
        assert_eq!(encrypted.metadata[ENCODING], ENCRYPTED);
        assert_eq!(encrypted.metadata[KEY_ID], storage::key_id(&OLD).into_bytes());
        assert!(!encrypted.data.windows(8).any(|part| part == b"customer"));
        assert_ne!(codec.encrypt(payload()).unwrap().data, encrypted.data, "never the same twice");
        assert_eq!(codec.decrypt(encrypted).unwrap(), payload());
    }

    #[test]
    fn the_newest_key_encrypts_and_the_older_ones_decrypt() {
        let before = Codec::new([OLD]).encrypt(payload()).unwrap();
        let both = Codec::new([NEW, OLD]);
        assert_eq!(both.decrypt(before).unwrap(), payload());
        assert_eq!(Codec::new([NEW]).decrypt(both.encrypt(payload()).unwrap()).unwrap(), payload());
    }

    #[test]
    fn what_is_not_encrypted_stays_as_it_is() {
        for codec in [Codec::default(), Codec::new([OLD])] {
            assert_eq!(codec.decrypt(payload()).unwrap(), payload());
        }
        assert_eq!(Codec::default().encrypt(payload()).unwrap(), payload());
    }

    #[test]
    fn a_missing_key_is_an_error_with_its_id() {
        let encrypted = Codec::new([OLD]).encrypt(payload()).unwrap();
        let id = storage::key_id(&OLD);
        for (codec, known) in [(Codec::default(), "none".to_owned()), (Codec::new([NEW]), storage::key_id(&NEW))] {
            let error = codec.decrypt(encrypted.clone()).unwrap_err();
            assert_eq!(error, CodecError::MissingKey { id: id.clone(), known });
            assert!(error.to_string().contains(&format!("`{id}`")), "{error}");
        }
    }

    #[test]
    fn a_changed_payload_stays_unreadable_and_is_no_error() {
        let mut changed = Codec::new([OLD]).encrypt(payload()).unwrap();
        changed.data[20] ^= 1;
        assert_eq!(Codec::new([OLD]).decrypt(changed.clone()).unwrap(), changed);
        changed.data.truncate(3);
        assert_eq!(Codec::new([OLD]).decrypt(changed.clone()).unwrap(), changed);
    }

    #[test]
    fn no_key_is_in_its_debug_output() {
        let shown = format!("{:?}", Codec::new([OLD]));
        assert!(shown.contains(&storage::key_id(&OLD)) && !shown.contains("7, 7"), "{shown}");
    }
}
