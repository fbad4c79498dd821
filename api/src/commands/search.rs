//! `settle search`: everything that the table of its verb cannot express.

use super::drawn::{Exchange, Hook};
use super::table;
use api::shell::quoted;

pub const HOOKS: &[(&str, Hook)] = &[(
    "search",
    Hook::WhyEmpty(|_, exchange| Box::pin(async move { Ok(suggestion(exchange)) })),
)];

/// Returns the line about the id that was probably meant; `None` if there is none.
fn suggestion(exchange: &Exchange) -> Option<String> {
    let meant = table::field(&exchange.answer, "did_you_mean");
    let command = format!("settle search {}", quoted(&meant));
    (!meant.is_empty()).then(|| format!("No results. Did you mean {meant}? `{command}` finds it."))
}

#[cfg(test)]
mod tests {
    use super::suggestion;
    use crate::drawn::Exchange;
    use serde_json::{Map, Value, json};

    #[test]
    fn the_id_that_was_probably_meant_is_a_line() {
        let of = |answer: Value| {
            suggestion(&Exchange {
                answer,
                typed: Map::new(),
                is_filtered: true,
            })
        };
        let meant = of(json!({ "items": [], "did_you_mean": "cust-1003" })).unwrap();
        assert_eq!(
            meant,
            "No results. Did you mean cust-1003? `settle search cust-1003` finds it."
        );
        assert_eq!(of(json!({ "items": [] })), None);
    }
}
