//! The purchase ids of samples. They can be minted only with the sample key of a data directory.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::notification::{SAMPLE_PREFIX, is_sample_purchase};
use ring::hmac;

/// Mints purchase ids, `sample.{name}.{MAC of the name}`, and recognizes its own.
#[derive(Debug, Clone)]
pub struct Mint {
    key: hmac::Key,
}

impl Mint {
    /// Returns the mint for a sample key, a private key in DER.
    pub fn new(sample_key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, sample_key),
        }
    }

    /// Returns the purchase id for a name, which is always the same. An id of a sample is returned unchanged.
    pub fn purchase_id(&self, name: &str) -> String {
        if is_sample_purchase(name) {
            return name.to_owned();
        }
        let mark = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, name.as_bytes()));
        format!("{SAMPLE_PREFIX}{name}.{mark}")
    }

    pub fn is_minted(&self, purchase_id: &str) -> bool {
        let parts = purchase_id
            .strip_prefix(SAMPLE_PREFIX)
            .and_then(|rest| rest.rsplit_once('.'));
        let Some((name, mark)) = parts else {
            return false;
        };
        let mark = URL_SAFE_NO_PAD.decode(mark);
        mark.is_ok_and(|mark| hmac::verify(&self.key, name.as_bytes(), &mark).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::Mint;

    #[test]
    fn a_mint_recognizes_its_own_ids_alone() {
        let (own, other) = (Mint::new(b"own"), Mint::new(b"other"));
        for name in ["a", "with.points", "/ü ~", ""] {
            let id = own.purchase_id(name);
            assert!(own.is_minted(&id) && !other.is_minted(&id), "{id}");
            assert_eq!(
                own.purchase_id(&id),
                id,
                "an earlier sample is named by its id"
            );
            assert!(
                !own.is_minted(&id.replacen("sample.", "sample.b", 1)),
                "{id}"
            );
            assert!(!own.is_minted(id.trim_start_matches("sample.")), "{id}");
        }
        for id in ["", "sample.", "sample.a", "sample.a.", "sample.a.b", "a"] {
            assert!(!own.is_minted(id), "{id}");
        }
    }
}
