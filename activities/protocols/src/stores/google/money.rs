//! Amounts of money, exact to the billionth.

use rust_decimal::Decimal;
use serde::Deserialize;

/// Number of nanos in a unit.
const NANOS: i128 = 1_000_000_000;

/// An amount in a currency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawMoney")]
pub struct Money {
    pub amount: Decimal,
    /// The ISO 4217 code; `None` if the store shows none, or an invalid one.
    pub currency: Option<String>,
}

/// Google's form: units and nanos, each absent if 0. Units are 64-bit integers, which JSON has as text
/// (<https://protobuf.dev/programming-guides/json/>).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMoney {
    currency_code: Option<String>,
    units: Option<Whole>,
    nanos: Option<Whole>,
}

/// An integer, as a number or as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Whole {
    Number(i64),
    Text(String),
}

impl Whole {
    pub(super) fn value(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// An amount that is out of range, or whose parts have different signs.
#[derive(Debug, thiserror::Error)]
#[error("not an amount of money")]
pub(super) struct InvalidMoney;

impl TryFrom<RawMoney> for Money {
    type Error = InvalidMoney;

    fn try_from(raw: RawMoney) -> Result<Self, InvalidMoney> {
        let part = |part: Option<&Whole>| match part {
            None => Ok(0),
            Some(whole) => whole.value().map(i128::from).ok_or(InvalidMoney),
        };
        let (units, nanos) = (part(raw.units.as_ref())?, part(raw.nanos.as_ref())?);
        let is_one_sign = units == 0 || nanos == 0 || (units < 0) == (nanos < 0);
        if !is_one_sign || nanos.abs() >= NANOS {
            return Err(InvalidMoney);
        }
        let amount = Decimal::try_from_i128_with_scale(units * NANOS + nanos, 9);
        Ok(Self {
            amount: amount.map_err(|_| InvalidMoney)?.normalize(),
            currency: raw.currency_code.filter(|code| is_code(code, 3)),
        })
    }
}

/// Returns whether a text is a code of `letters` capital letters, such as that of a currency or a country.
pub(super) fn is_code(text: &str, letters: usize) -> bool {
    text.len() == letters && text.bytes().all(|letter| letter.is_ascii_uppercase())
}
