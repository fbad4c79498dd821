//! Formats of texts in requests, each with an example and the text that describes it in errors.

use super::shape::{choices, type_of};
use domain::text::decimal;
use domain::{CollapseKey, Timestamp};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::{Value, json};

pub struct Format {
    /// Name of the format in a schema's `format`.
    name: &'static str,
    pub expected: &'static str,
    pub example: &'static str,
    /// Pattern of the format, if JSON Schema does not define it.
    pub pattern: Option<&'static str>,
    /// Whether the format refuses some texts that match its name and pattern.
    pub is_stricter: bool,
    /// Whether a text has this format.
    pub fits: fn(&str) -> bool,
}

/// Recommended pattern of a decimal.
const DECIMAL: &str = r"^[0-9]+(\.[0-9]+)?$";

const FORMATS: [Format; 10] = [
    Format {
        name: "uuid",
        expected: "a UUID",
        example: "0198c5a2-7b1e-7c3f-9d20-5a6b7c8d9e0f",
        pattern: None,
        is_stricter: false,
        fits: |text| text.parse::<CollapseKey>().is_ok(),
    },
    Format {
        name: "date-time",
        expected: "a time in RFC 3339, such as 2026-01-31T12:00:00Z",
        example: "2026-01-31T12:00:00Z",
        pattern: None,
        is_stricter: false,
        fits: |text| text.parse::<Timestamp>().is_ok(),
    },
    Format {
        name: "date",
        expected: "a day such as 2026-01-31",
        example: "2026-01-31",
        pattern: None,
        is_stricter: false,
        fits: |text| text.len() == 10 && text.parse::<Date>().is_ok(),
    },
    Format {
        name: "month",
        expected: "a month such as 2026-11",
        example: "2026-11",
        pattern: Some("^[0-9]{4}-(0[1-9]|1[0-2])$"),
        is_stricter: false,
        fits: |text| text.len() == 7 && format!("{text}-01").parse::<Date>().is_ok(),
    },
    Format {
        name: "since",
        expected: "a day such as 2026-03-01, which begins at midnight UTC, or a time in RFC 3339",
        example: "2026-03-01",
        pattern: None,
        is_stricter: true,
        fits: |text| text.parse::<domain::catalogue::Since>().is_ok(),
    },
    Format {
        name: "decimal",
        expected: "a decimal from 0 to 1000000000, as text, such as \"9.99\"",
        example: "9.99",
        pattern: Some(DECIMAL),
        is_stricter: true,
        fits: |text| {
            let most = Decimal::from(1_000_000_000);
            decimal(text).is_some_and(|decimal| !decimal.is_sign_negative() && decimal <= most)
        },
    },
    Format {
        name: "uri",
        expected: "a URL such as https://example.com/hook",
        example: "https://example.com/hook",
        pattern: None,
        is_stricter: true,
        fits: |text| text.parse::<url::Url>().is_ok(),
    },
    Format {
        name: "rate",
        expected: "a decimal from 0.000000001 to 1000000, as text, such as \"1.08\"",
        example: "1.08",
        pattern: Some(DECIMAL),
        is_stricter: true,
        fits: |text| {
            let bounds = Decimal::new(1, 9)..=Decimal::from(1_000_000);
            decimal(text).is_some_and(|rate| bounds.contains(&rate))
        },
    },
    Format {
        name: "country",
        expected: "two capital letters of ISO 3166, such as DE",
        example: "DE",
        pattern: Some("^[A-Z]{2}$"),
        is_stricter: false,
        fits: |text| is_code(text, 2),
    },
    Format {
        name: "currency",
        expected: "three capital letters of ISO 4217, such as EUR",
        example: "EUR",
        pattern: Some("^[A-Z]{3}$"),
        is_stricter: false,
        fits: |text| is_code(text, 3),
    },
];

fn is_code(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Returns the format that a schema names; `None` if it names none, or one that is not listed here.
pub fn of(schema: &Value) -> Option<&'static Format> {
    let name = schema["format"].as_str()?;
    FORMATS.iter().find(|format| format.name == name)
}

/// Returns a value that matches a schema. Used for examples, and in place of an invalid value while the rest of a
/// request is checked.
pub fn example(schema: &Value) -> Value {
    if let Some(example) = schema["examples"]
        .get(0)
        .or_else(|| schema.get("const"))
        .or_else(|| schema.get("default"))
    {
        return example.clone();
    }
    if let Some(choice) = choices(schema).first() {
        return json!(choice);
    }
    match type_of(schema) {
        "string" => json!(of(schema).map_or("text", |format| format.example)),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "boolean" => json!(true),
        "array" => json!([]),
        "object" => {
            let required = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            required
                .map(|name| (name.to_owned(), example(&schema["properties"][name])))
                .collect()
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::FORMATS;

    #[test]
    fn the_example_of_a_format_is_of_it_and_another_text_is_not() {
        for format in &FORMATS {
            assert!((format.fits)(format.example), "{}", format.name);
            assert!(!(format.fits)("-1 strange"), "{}", format.name);
        }
    }

    #[test]
    fn prices_and_rates_have_bounds() {
        let fits = |name: &str, text: &str| {
            let format = FORMATS.iter().find(|format| format.name == name).unwrap();
            (format.fits)(text)
        };
        for (name, text, expected) in [
            ("decimal", "0", true),
            ("decimal", "1000000000", true),
            ("decimal", "1000000000.01", false),
            ("decimal", "-0.01", false),
            ("decimal", "1e3", false),
            ("decimal", "1_000", false),
            ("rate", "0.000000001", true),
            ("rate", "0.0000000009", false),
            ("rate", "0", false),
            ("rate", "1000000", true),
            ("rate", "1000000.1", false),
            ("rate", "1e0", false),
        ] {
            assert_eq!(fits(name, text), expected, "{name} {text}");
        }
    }
}
