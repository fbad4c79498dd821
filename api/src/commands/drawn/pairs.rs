//! Fields of an object whose names the store defines. Each is typed as `NAME=VALUE`.

use crate::secret::Source;
use anyhow::bail;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// A field, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    name: String,
    value: PairValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PairValue {
    /// The field is removed.
    Removed,
    Text(String),
    /// A credential.
    Secret(Source),
}

/// Parses `NAME=VALUE`, `NAME=@FILE`, `NAME=-` for standard input, or `NAME=` to remove a field.
pub fn parse(text: &str) -> Result<Pair, String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("expected NAME=VALUE, NAME=@FILE, or NAME=- for standard input")?;
    let value = match value {
        "" => PairValue::Removed,
        text if text == "-" || text.starts_with('@') => PairValue::Secret(text.parse()?),
        text => PairValue::Text(text.to_owned()),
    };
    Ok(Pair {
        name: name.to_owned(),
        value,
    })
}

/// Returns the fields from the pairs typed with a flag. A field to remove is null.
pub fn fields<'p>(
    flag: &str,
    pairs: impl Iterator<Item = &'p Pair>,
) -> anyhow::Result<Map<String, Value>> {
    let mut fields = Map::new();
    for Pair { name, value } in pairs {
        let value = match value {
            PairValue::Removed => Value::Null,
            PairValue::Text(text) => text.as_str().into(),
            PairValue::Secret(source) => source
                .read(&format!("{flag} {name}"))?
                .expose_secret()
                .into(),
        };
        if fields.insert(name.clone(), value).is_some() {
            bail!("{flag} {name} is typed twice");
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::{fields, parse};
    use serde_json::json;

    #[test]
    fn a_pair_is_a_name_with_a_text_or_a_source() {
        let pairs = ["region=eu", "note=a=b", "old="].map(|text| parse(text).expect("a pair"));
        let typed = fields("--store-setting", pairs.iter()).expect("fields");
        let expected = json!({ "region": "eu", "note": "a=b", "old": null });
        assert_eq!(json!(typed), expected);
        for wrong in ["region", "=eu", "", "key=@"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let twice = ["region=eu", "region=us"].map(|text| parse(text).expect("a pair"));
        let refused = fields("--store-setting", twice.iter()).expect_err("an error");
        assert_eq!(refused.to_string(), "--store-setting region is typed twice");
    }
}
