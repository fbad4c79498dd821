//! The receipt ids of samples. Only the sample key of a data directory can mint them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::notification::{SAMPLE_RECEIPT, is_sample_receipt};
use ring::hmac;

/// Mints receipt ids, `sample.{name}.{MAC of the name}`, and recognizes its own.
#[derive(Debug, Clone)]
pub struct Mint {
    key: hmac::Key,
}

impl Mint {
    /// The mint of a sample key: a private key in DER.
    pub fn new(sample_key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, sample_key),
        }
    }

    /// The receipt id of a name, always the same. The receipt id of a sample stays as it is.
    pub fn receipt_id(&self, name: &str) -> String {
        if is_sample_receipt(name) {
            return name.to_owned();
        }
        let mark = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, name.as_bytes()));
        format!("{SAMPLE_RECEIPT}{name}.{mark}")
    }

    pub fn is_minted(&self, receipt_id: &str) -> bool {
        let parts = receipt_id
            .strip_prefix(SAMPLE_RECEIPT)
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
    fn a_mint_recognizes_its_own_receipts_alone() {
        let (own, other) = (Mint::new(b"own"), Mint::new(b"other"));
        for name in ["a", "with.points", "/ü ~", ""] {
            let receipt = own.receipt_id(name);
            assert!(
                own.is_minted(&receipt) && !other.is_minted(&receipt),
                "{receipt}"
            );
            assert_eq!(
                own.receipt_id(&receipt),
                receipt,
                "an earlier sample is named by its receipt"
            );
            assert!(
                !own.is_minted(&receipt.replacen("sample.", "sample.b", 1)),
                "{receipt}"
            );
            assert!(
                !own.is_minted(receipt.trim_start_matches("sample.")),
                "{receipt}"
            );
        }
        for receipt in ["", "sample.", "sample.a", "sample.a.", "sample.a.b", "a"] {
            assert!(!own.is_minted(receipt), "{receipt}");
        }
    }
}
