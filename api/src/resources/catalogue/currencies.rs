//! The currencies of ISO 4217, which are valid in a price.

use std::collections::BTreeSet;
use storage::{Change, Product};

/// The codes of ISO 4217 (<https://www.six-group.com/en/products-services/financial-information/data-standards.html>),
/// without those of metals, tests and units of account.
const CODES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP \
    BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL \
    GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT \
    LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR \
    PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB \
    TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR \
    ZMW ZWG";

/// Returns one sentence for each unknown currency among the prices that a change sets.
pub fn warnings(change: &Change) -> Vec<String> {
    let products: Vec<&Product> = match change {
        Change::SetProduct(_, product) | Change::SetProductWith { product, .. } => vec![product],
        Change::Replace(catalogue) => catalogue.products.values().collect(),
        Change::SetEntitlement(..) | Change::DeleteEntitlement(_) | Change::DeleteProduct(_) => {
            Vec::new()
        }
    };
    let prices = products.iter().flat_map(|product| &product.prices);
    let unknown: BTreeSet<&str> = prices
        .map(|price| price.currency.as_str())
        .filter(|code| !is_known(code))
        .collect();
    unknown
        .into_iter()
        .map(|code| format!("`{code}` is not a currency of ISO 4217"))
        .collect()
}

fn is_known(code: &str) -> bool {
    CODES.split(' ').any(|known| known == code)
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn a_currency_is_known_by_its_whole_code() {
        assert!(["AED", "EUR", "USD", "ZWG"].into_iter().all(is_known));
        assert!(
            ["ZZZ", "usd", "US", "USD EUR", ""]
                .into_iter()
                .all(|code| !is_known(code))
        );
    }
}
