//! An event in readable form: a title and labelled lines. The kinds of destination that people read share it.
//!
//! All texts are plain and on a single line. Each kind escapes them for its own markup.

#[cfg(test)]
mod tests;

use domain::Timestamp;
use domain::event::{
    DESTINATION_DISABLED, DESTINATION_EXHAUSTED, DESTINATION_FAILING, DESTINATION_RECOVERED,
    summary,
};
use domain::text::visible;
use serde_json::Value;

/// Maximum length of a title in characters. A longer title is cut off and ends with an ellipsis, as values do.
pub const MAX_TITLE_CHARS: usize = 150;
/// Maximum length of a value in characters.
pub const MAX_VALUE_CHARS: usize = 300;
/// Maximum number of items of a list that a value names.
const MAX_ITEMS: usize = 5;
/// The number at which the count in `pending` stops: it stands for itself and for any larger number.
const MANY_PENDING: i64 = 100_000;

/// An event in readable form. None of its texts has a line break or an invisible character.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sentence {
    /// What happened, in at most [`MAX_TITLE_CHARS`] characters and without a full stop.
    pub title: String,
    /// Labels and values of at most [`MAX_VALUE_CHARS`] characters. An unknown value has no line.
    pub lines: Vec<(&'static str, String)>,
    /// URL of a page of this installation's dashboard, as recorded in the event.
    pub link: Option<String>,
}

/// Describes an event by its type and the body that a destination receives. For an unknown type, only the type's name
/// is shown.
pub fn sentence(event_type: &str, body: &Value) -> Sentence {
    let family = event_type.split('.').next().unwrap_or_default();
    match family {
        "destination" => destination(event_type, body),
        "alarm" => alarm(event_type, body),
        "purchase" => purchase(event_type, body),
        "revenue" => revenue(event_type, body),
        "user" => user(event_type, body),
        "device" => device(event_type, body),
        "test" => {
            Sentence::new("A test of this destination").line("Event", Some("none".to_owned()))
        }
        _ => Sentence::new(event_type),
    }
}

impl Sentence {
    fn new(title: &str) -> Self {
        Self {
            title: within(visible(title), MAX_TITLE_CHARS),
            lines: Vec::new(),
            link: None,
        }
    }

    /// Returns a sentence whose title is the type's summary or, without one, its name. The title of a sandbox event
    /// says so.
    fn about(event_type: &str, environment: Option<&str>) -> Self {
        let summary = summary(event_type);
        let summary = summary
            .split_once(';')
            .map_or(summary, |(first, _)| first)
            .trim_end_matches('.');
        let title = if summary.is_empty() {
            event_type
        } else {
            summary
        };
        let place = if environment == Some("sandbox") {
            " (sandbox)"
        } else {
            ""
        };
        Self::new(&format!("{title}{place}"))
    }

    /// Adds a line, if there is a value.
    fn line(mut self, label: &'static str, value: Option<String>) -> Self {
        let value = value
            .map(|value| visible(&value))
            .filter(|value| !value.is_empty());
        self.lines
            .extend(value.map(|value| (label, within(value, MAX_VALUE_CHARS))));
        self
    }
}

fn destination(event_type: &str, body: &Value) -> Sentence {
    let name = text(body, "/destination/name").unwrap_or_else(|| "A destination".to_owned());
    let title = match event_type {
        DESTINATION_FAILING => format!("{name} is failing"),
        DESTINATION_DISABLED => format!("{name} is disabled"),
        DESTINATION_RECOVERED => format!("{name} works again"),
        DESTINATION_EXHAUSTED => format!("{name}: a delivery failed"),
        _ => format!("{name}: {event_type}"),
    };
    Sentence::new(&title)
        .line("Reason", text(body, "/reason"))
        .line("Since", time(body, "/since"))
        .line("Failures in a row", failures(body))
        .line("Pending", pending(body))
}

fn failures(body: &Value) -> Option<String> {
    text(body, "/failures").filter(|failures| failures != "0")
}

fn pending(body: &Value) -> Option<String> {
    body.get("pending")
        .and_then(Value::as_i64)
        .map(|pending| match pending {
            MANY_PENDING.. => format!("{MANY_PENDING} deliveries or more"),
            1 => "1 delivery".to_owned(),
            fewer => format!("{fewer} deliveries"),
        })
}

fn alarm(event_type: &str, body: &Value) -> Sentence {
    let is_closed = event_type == "alarm.closed";
    let kind = text(body, "/alarm/kind").map(|kind| kind.replace('_', " "));
    let parts = [
        text(body, "/alarm/about"),
        kind.or_else(|| Some(event_type.to_owned())),
    ];
    let about = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let title = if is_closed { "Alarm closed" } else { "Alarm" };
    let count = text(body, "/alarm/count").filter(|count| count != "1");
    let last = time(body, "/alarm/last_at").filter(|_| count.is_some());
    let alarm = body.get("alarm").unwrap_or(&Value::Null);
    let all_apps = || {
        text(body, "/alarm/about")
            .is_none()
            .then(|| "all".to_owned())
    };
    let sentence = Sentence::new(&format!("{title}: {about}"))
        .line("App", text(body, "/app_name").or_else(all_apps))
        .line("Detail", text(body, "/alarm/detail"))
        .line("Cause", text(alarm, "/cause"))
        .line("Failures in a row", failures(alarm))
        .line("Pending", pending(alarm))
        .line("Raised", time(body, "/alarm/first_at"))
        .line("Raised last", last)
        .line("Times raised", count)
        .line("Closed", time(body, "/created_date").filter(|_| is_closed))
        .line("Closed by", text(body, "/closed_by"))
        .line("Note", text(body, "/note"));
    Sentence {
        link: link(alarm),
        ..sentence
    }
}

/// Returns the link of an alarm's event; `None` unless it is an HTTP URL without spaces, `<`, `>` and `|`.
fn link(alarm: &Value) -> Option<String> {
    let url = alarm.get("url").and_then(Value::as_str)?;
    let is_address = url.starts_with("https://") || url.starts_with("http://");
    (is_address
        && url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>|".contains(&byte)))
    .then(|| url.to_owned())
}

fn revenue(event_type: &str, body: &Value) -> Sentence {
    let amount = text(body, "/usd").map(|usd| format!("{usd} USD"));
    let is_estimate = body.get("is_estimate") == Some(&Value::Bool(true));
    let why = text(body, "/kind").map(|kind| match kind.as_str() {
        "restored" => "the refunded payment is valid again".to_owned(),
        "correction" => "the price of the payment was corrected".to_owned(),
        _ => "refund".to_owned(),
    });
    Sentence::about(event_type, text(body, "/environment").as_deref())
        .line("Revenue", amount)
        .line("Why", why)
        .line(
            "Shown by",
            text(body, "/transaction_id")
                .map(|transaction| format!("the sales report, {transaction}")),
        )
        .line(
            "Note",
            is_estimate.then(|| "settle's estimate until a sales report has it".to_owned()),
        )
        .line("Product", text(body, "/sku"))
        .line("Happened", time(body, "/occurred_at"))
        .line("Purchase", text(body, "/collapse_key"))
}

fn purchase(event_type: &str, body: &Value) -> Sentence {
    let data = body.get("data").unwrap_or(&Value::Null);
    let environment = text(data, "/environment");
    let store_id = text(data, "/purchase_guid");
    let transaction =
        text(data, "/transaction_id").filter(|transaction| Some(transaction) != store_id.as_ref());
    Sentence::about(event_type, environment.as_deref())
        .line("Customer", text(data, "/last_seen_external_id"))
        .line("Product", text(data, "/product_ref_id"))
        .line("Price", price(data, "purchase_price", "purchase_currency"))
        .line("State", state(data))
        .line("Next plan", next_plan(data))
        .line("Country", text(data, "/purchase_country"))
        .line("Platform", text(data, "/platform_type"))
        .line("Environment", environment)
        .line("Store's purchase id", store_id)
        .line("Transaction", transaction)
}

fn user(event_type: &str, body: &Value) -> Sentence {
    let environment = text(body, "/environment");
    Sentence::about(event_type, environment.as_deref())
        .line("Customer", external_id(body, "external_id"))
        .line(
            "User",
            text(body, "/user_id").filter(|_| external_id(body, "external_id").is_none()),
        )
        .line(
            "Active products",
            listed(body, "/active_skus", |sku| sku.as_str().map(str::to_owned)),
        )
        .line("State", journey(body))
        .line("Next plan", next_plan(body))
        .line("Previous plan", text(body, "/previous_sku_ref_id"))
        .line("Expiration reason", text(body, "/expiration_reason"))
        .line("Happened", time(body, "/occurred_at"))
        .line("Platform", text(body, "/event_platform"))
        .line("Environment", environment)
        .line("Store's purchase id", purchase_id(body))
}

fn device(event_type: &str, body: &Value) -> Sentence {
    let data = body.get("data").unwrap_or(&Value::Null);
    let system = [
        text(data, "/device/os/name"),
        text(data, "/device/os/version"),
    ];
    let system = system.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let app = text(data, "/device/app_version").map(|version| format!("app {version}"));
    let shown = [Some(system).filter(|system| !system.is_empty()), app]
        .into_iter()
        .flatten();
    let product = |product: &Value| {
        let price = price(product, "price", "currency").map(|price| format!(" for {price}"));
        Some(format!(
            "{}{}",
            text(product, "/sku_ref_id")?,
            price.unwrap_or_default()
        ))
    };
    Sentence::about(event_type, None)
        .line("Customer", text(data, "/external_id"))
        .line(
            "User",
            text(data, "/user_id").filter(|_| text(data, "/external_id").is_none()),
        )
        .line("Paywall", text(data, "/paywall"))
        .line("Placement", text(data, "/placement"))
        .line("Campaign", text(data, "/campaign"))
        .line("Variant", text(data, "/variant"))
        .line("Products", listed(data, "/products", product))
        .line("Kind", text(data, "/kind"))
        .line("Product", text(data, "/sku_ref_id"))
        .line("Price", price(data, "purchase_price", "purchase_currency"))
        .line("Country", text(data, "/purchase_country"))
        .line("Closed by", text(data, "/closed_by"))
        .line("Device", Some(shown.collect::<Vec<_>>().join(", ")))
        .line("Platform", text(data, "/device/platform_type"))
        .line("Happened", time(body, "/attributes/event_time"))
        .line("Store's purchase id", text(data, "/purchase_guid"))
        .line("Verified", Some("no, the app reported it".to_owned()))
}

/// Returns a purchase's state according to its record; `None` if the state is unknown.
fn state(data: &Value) -> Option<String> {
    if let Some(at) = time(data, "/revoked_at") {
        return Some(format!("revoked {at}"));
    }
    let end = |what: &str| time(data, "/expires_at").map(|at| format!("{what} {at}"));
    if !flag(data, "/is_active")? {
        return Some(end("no access since").unwrap_or_else(|| "no access".to_owned()));
    }
    let now = if flag(data, "/is_in_trial_period") == Some(true) {
        "in a trial"
    } else {
        "active"
    };
    let unpaid = time(data, "/payment_issues_began_at").map(|at| format!("payment failed {at}"));
    let next = match flag(data, "/is_auto_renewable") {
        Some(true) => end("renews"),
        Some(false) | None => end("ends"),
    };
    Some(
        [Some(now.to_owned()), unpaid, next]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
    )
}

/// Returns a customer's state across all purchases; `None` if nothing stands out.
fn journey(body: &Value) -> Option<String> {
    let phrases = [
        ("in_trial_period", "in a trial"),
        ("in_intro_offer_period", "at an introductory price"),
        ("in_grace_period", "payment failed, in the grace period"),
        ("in_account_hold", "on account hold"),
        ("in_pause", "paused"),
        ("is_cancelled", "auto-renewal is off"),
        ("former_subscriber", "former subscriber"),
    ];
    let holds = |name: &str| flag(body, &format!("/customer_journey_state/{name}")) == Some(true);
    let found: Vec<&str> = phrases
        .into_iter()
        .filter(|(name, _)| holds(name))
        .map(|(_, phrase)| phrase)
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

/// Returns the product of a scheduled plan change and, if known, the time at which it takes effect.
fn next_plan(record: &Value) -> Option<String> {
    let sku = text(record, "/pending_sku_ref_id")?;
    Some(time(record, "/pending_at").map_or_else(|| sku.clone(), |at| format!("{sku} from {at}")))
}

fn price(record: &Value, amount: &str, currency: &str) -> Option<String> {
    let amount = text(record, &format!("/{amount}"))?;
    let currency = text(record, &format!("/{currency}"));
    Some(currency.map_or_else(|| amount.clone(), |currency| format!("{amount} {currency}")))
}

/// Returns the store's id of the purchase: the external id that is not the customer's. Its key depends on the store.
fn purchase_id(body: &Value) -> Option<String> {
    let all = body.get("external_ids").and_then(Value::as_array)?;
    let is_customer = |one: &Value| {
        let key = one.get("key").and_then(Value::as_str);
        matches!(key, Some("external_id" | "app_user_id"))
    };
    text(all.iter().find(|one| !is_customer(one))?, "/value")
}

/// Returns the value with this key among a customer's external ids.
fn external_id(body: &Value, key: &str) -> Option<String> {
    let all = body.get("external_ids").and_then(Value::as_array)?;
    text(
        all.iter()
            .find(|one| one.get("key").and_then(Value::as_str) == Some(key))?,
        "/value",
    )
}

/// Returns the first items of a list, and how many more there are.
fn listed(body: &Value, path: &str, item: impl Fn(&Value) -> Option<String>) -> Option<String> {
    let all = body.pointer(path).and_then(Value::as_array)?;
    let mut shown: Vec<String> = all.iter().take(MAX_ITEMS).filter_map(item).collect();
    let others = all.len().saturating_sub(MAX_ITEMS);
    if others > 0 {
        shown.push(format!("and {others} more"));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn flag(body: &Value, path: &str) -> Option<bool> {
    body.pointer(path).and_then(Value::as_bool)
}

/// Returns the visible text of a string or a number; `None` for any other value, and if no character is visible.
fn text(body: &Value, path: &str) -> Option<String> {
    let text = match body.pointer(path)? {
        Value::String(text) => visible(text),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then(|| within(text, MAX_VALUE_CHARS))
}

/// Returns a time to the minute, in UTC. Any other text is returned unchanged.
fn time(body: &Value, path: &str) -> Option<String> {
    let text = text(body, path)?;
    let Ok(at) = text.parse::<Timestamp>() else {
        return Some(text);
    };
    let at = at.to_string();
    Some(format!(
        "{} UTC",
        at.get(..16).unwrap_or(&at).replace('T', " ")
    ))
}

/// Shortens a text to this number of characters; an ellipsis replaces what is cut off.
fn within(text: String, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text;
    }
    let cut: String = text.chars().take(max_chars.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}
