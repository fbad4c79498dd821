//! The currency in which a store sells in a country's marketplace (ISO 3166-1 and ISO 4217).

/// Countries with a currency of their own.
const OWN: [(&str, &str); 34] = [
    ("AE", "AED"),
    ("AR", "ARS"),
    ("AU", "AUD"),
    ("BR", "BRL"),
    ("CA", "CAD"),
    ("CH", "CHF"),
    ("CL", "CLP"),
    ("CN", "CNY"),
    ("CO", "COP"),
    ("CZ", "CZK"),
    ("DK", "DKK"),
    ("EG", "EGP"),
    ("GB", "GBP"),
    ("HK", "HKD"),
    ("HU", "HUF"),
    ("ID", "IDR"),
    ("IL", "ILS"),
    ("IN", "INR"),
    ("JP", "JPY"),
    ("KR", "KRW"),
    ("MX", "MXN"),
    ("MY", "MYR"),
    ("NO", "NOK"),
    ("NZ", "NZD"),
    ("PH", "PHP"),
    ("PL", "PLN"),
    ("RO", "RON"),
    ("SA", "SAR"),
    ("SE", "SEK"),
    ("SG", "SGD"),
    ("TH", "THB"),
    ("TR", "TRY"),
    ("US", "USD"),
    ("ZA", "ZAR"),
];
/// Countries that use the euro
/// (<https://european-union.europa.eu/institutions-law-budget/euro/countries-using-euro_en>).
const EURO: [&str; 21] = [
    "AT", "BE", "BG", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PT", "SI", "SK",
];

/// Returns the currency of a country; `None` if the country is not listed here.
pub fn currency_of(country: &str) -> Option<&'static str> {
    if EURO.iter().any(|one| one.eq_ignore_ascii_case(country)) {
        return Some("EUR");
    }
    OWN.iter()
        .find(|(one, _)| one.eq_ignore_ascii_case(country))
        .map(|(_, currency)| *currency)
}
