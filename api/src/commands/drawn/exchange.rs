//! A command's call: what was typed, and the response.

use crate::table;
use api::shell::quoted;
use serde_json::{Map, Value};

/// The typed arguments and the API's response. Secrets that were typed are left out.
pub struct Exchange {
    pub answer: Value,
    /// The arguments, by the names of their fields.
    pub typed: Map<String, Value>,
    /// Whether one of the arguments filters a list.
    pub is_filtered: bool,
}

impl Exchange {
    /// Returns one argument as text; empty if it was not typed.
    pub fn typed(&self, field: &str) -> String {
        self.typed.get(field).map(table::raw).unwrap_or_default()
    }

    /// Replaces each `{field}` in a text by what was typed or, without that, by this field of the response. Between
    /// backticks, where a command stands, the value is quoted as one shell argument.
    pub fn filled(&self, text: &str) -> String {
        let (mut filled, mut is_in_command) = (String::new(), false);
        for (at, part) in text.split(['{', '}']).enumerate() {
            if at % 2 == 0 {
                is_in_command ^= part.matches('`').count() % 2 == 1;
                filled.push_str(part);
                continue;
            }
            let value = if self.typed.contains_key(part) {
                self.typed(part)
            } else {
                table::field(&self.answer, part)
            };
            filled.push_str(&if is_in_command { quoted(&value) } else { value });
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::Exchange;
    use serde_json::{Value, json};

    #[test]
    fn a_suggested_command_has_the_name_as_one_argument() {
        for name in ["hook", "two words", "it's $(here)"] {
            let typed = json!({ "destination_id": name })
                .as_object()
                .cloned()
                .unwrap_or_default();
            let exchange = Exchange {
                answer: Value::Null,
                typed,
                is_filtered: false,
            };
            let sentence = exchange.filled(
                "Of {destination_id}: `settle destination show {destination_id}` shows it.",
            );
            let command = sentence
                .split_once('`')
                .and_then(|(_, rest)| rest.rsplit_once('`'))
                .expect("a command")
                .0;
            assert_eq!(
                api::shell::read(command),
                ["settle", "destination", "show", name]
            );
            assert!(sentence.starts_with(&format!("Of {name}: ")), "{sentence}");
        }
    }
}
