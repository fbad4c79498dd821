//! `settle payment`: everything that its table of verbs cannot express.

use super::client::read_as;
use super::drawn::Hook;
use super::table;
use api::resources::refunds::STATE;
use domain::payment::EntryKind;
use serde::Deserialize;
use serde_json::Value;

pub const HOOKS: &[(&str, Hook)] = &[("payment", Hook::Humanize(humanize_sources))];

/// The fields of a payment that determine the displayed name of its source.
#[derive(Debug, Deserialize)]
struct Amount {
    source: Option<String>,
    kind: Option<String>,
    transaction_id: Option<String>,
    is_corrected: Option<bool>,
}

/// Names the sources as the dashboard does: a sales report if one contains the amount, and an estimate if neither a
/// store nor a report shows it. The price before a correction keeps the name of its own source.
fn humanize_sources(answer: &mut Value) {
    for one in table::items_mut(answer) {
        let Ok(amount) = read_as::<Amount>(one) else {
            continue;
        };
        let is_own = |kind: &&EntryKind| amount.kind.as_deref() == Some(kind.as_str());
        let kind = EntryKind::ALL.iter().find(is_own);
        let is_payment = kind.is_some_and(|kind| kind.is_payment());
        let is_confirmed = amount.transaction_id.is_some() && amount.is_corrected != Some(true);
        let shown = match amount.source.as_deref() {
            // A store that shows payments: another one is the source of changes alone.
            Some(STATE) if is_payment => "store",
            Some(source) if source == "report" || is_confirmed => "sales report",
            Some(STATE) => "estimate",
            Some("catalogue") => "list price",
            Some("device") => "price on the device",
            _ => continue,
        };
        one["source"] = shown.into();
    }
}

#[cfg(test)]
mod tests {
    use super::humanize_sources;
    use serde_json::json;

    #[test]
    fn an_amount_is_by_what_the_page_names() {
        for (source, transaction, is_corrected, shown) in [
            ("store", None, false, "estimate"),
            ("store", Some("T-1"), false, "sales report"),
            ("report", Some("T-2"), false, "sales report"),
            ("report", None, false, "sales report"),
            ("catalogue", None, false, "list price"),
            ("catalogue", Some("T-3"), false, "sales report"),
            ("catalogue", Some("T-4"), true, "list price"),
            ("device", Some("T-5"), false, "sales report"),
            ("device", None, false, "price on the device"),
        ] {
            let one = json!({ "source": source, "transaction_id": transaction, "is_corrected": is_corrected });
            let mut answer = json!({ "items": [one] });
            humanize_sources(&mut answer);
            assert_eq!(
                answer["items"][0]["source"], shown,
                "{source} {transaction:?}"
            );
        }
    }
}
