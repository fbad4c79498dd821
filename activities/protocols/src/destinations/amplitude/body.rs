//! The body of an event. It is frozen for all attempts, together with the event's environment. It contains no API key.
//!
//! Each request adds the API key and, where needed, the flag that leaves the user's properties unchanged.

use super::caps::Caps;
use super::identity::Identity;
use super::keys::Key;
use super::properties::{self, CAPPED};
use super::settings::Settings;
use super::{config, identity, revenue};
use crate::destinations::notes::RenderNotes;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::{PROFILE_UPDATED, USER_ERASED};
use domain::{Environment, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use storage::{Destination, Rendered, Unsent};

/// Maximum size of a body in bytes. Ten such bodies are smaller than the 1 MB that Amplitude accepts in one request.
pub const MAX_BYTES: usize = 90_000;
/// The valid values of `time`: milliseconds since 1970 with 13 digits, as Amplitude requires (the years 2001 to 2286).
pub const VALID_TIMES: std::ops::RangeInclusive<i64> = 1_000_000_000_000..=9_999_999_999_999;
/// The last two digits of `event_id` of a `purchase.updated`, which follows all other events of its revision.
const LAST_INDEX: usize = 99;
/// The type of an event that changes user properties and that Amplitude does not count
/// (<https://amplitude.com/docs/apis/analytics/http-v2>).
const IDENTIFY: &str = "$identify";
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frozen {
    /// Whether the event is about a sandbox purchase.
    pub sandbox: bool,
    pub event: Map<String, Value>,
}

impl Frozen {
    /// Parses a frozen body. `None` if it was not frozen for Amplitude.
    pub fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// Returns the event as JSON, as it stands in the `events` of a request.
    pub fn sent(self) -> String {
        Value::Object(self.event).to_string()
    }

    /// Returns the environment of the event's purchase.
    pub const fn environment(&self) -> Environment {
        if self.sandbox {
            Environment::Sandbox
        } else {
            Environment::Production
        }
    }
}

/// Returns how many bodies, starting with the first, one request may contain: they must have the first one's
/// environment.
pub fn batch_size<'a>(bodies: impl IntoIterator<Item = &'a str>) -> usize {
    let environment = |body| {
        Frozen::read(body)
            .map(|frozen| frozen.environment())
            .unwrap_or_default()
    };
    let mut environments = bodies.into_iter().map(environment);
    environments.next().map_or(0, |first| {
        1 + environments.take_while(|other| *other == first).count()
    })
}

/// Renders an event, or returns why it is not sent yet or will never be sent. The reason contains no key and no id.
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    match frozen(destination, unsent) {
        Ok(body) if body.len() <= MAX_BYTES => match amount(unsent, &body) {
            Some(usd) => Rendered::Revenue { body, usd },
            None => Rendered::Body(body),
        },
        Ok(_) => Rendered::Refuse {
            why: format!("the event is longer than {MAX_BYTES} bytes"),
        },
        Err(rendered) => rendered,
    }
}

/// Returns what metrics count about the rendering of a body.
pub fn render_notes(
    destination: &Destination,
    unsent: &Unsent,
    rendered: &Rendered,
) -> RenderNotes {
    match rendered {
        Rendered::Body(body) | Rendered::Revenue { body, .. } => RenderNotes {
            capped: capped(body).unwrap_or_default(),
            wrong_id: None,
        },
        Rendered::Refuse { .. } => {
            let settings = config::read(&destination.settings).ok();
            RenderNotes {
                capped: 0,
                wrong_id: settings.and_then(|settings| identity::wrong(&settings, unsent)),
            }
        }
        Rendered::Wait { .. } | Rendered::Skip { .. } => RenderNotes::default(),
    }
}

/// Returns the amount in a body as a decimal: the ledger's own text if it has the same value.
fn amount(unsent: &Unsent, body: &str) -> Option<String> {
    let amount = Frozen::read(body)?.event.get("revenue")?.as_f64()?;
    let entered = unsent.earned.as_ref().and_then(storage::Earned::revenue);
    let same = entered
        .filter(|usd| usd.parse() == Ok(amount))
        .map(str::to_owned);
    same.or_else(|| Some(amount.to_string()))
}

fn capped(body: &str) -> Option<u64> {
    Frozen::read(body)?
        .event
        .get("event_properties")?
        .get(CAPPED)?
        .as_u64()
}

fn frozen(destination: &Destination, unsent: &Unsent) -> Result<String, Rendered> {
    let settings = config::read(&destination.settings).map_err(|wrong| Rendered::Refuse {
        why: wrong.to_string(),
    })?;
    if unsent.event_type == USER_ERASED {
        let why = "it is sent to webhooks only; an integration with a `secret_key` gets a request to delete the user";
        return Err(Rendered::Skip { why: why.into() });
    }
    let needs_data =
        unsent.event_type.starts_with("user.") || unsent.event_type == REVENUE_ADJUSTED;
    if needs_data && !unsent.data.is_object() {
        return Err(Rendered::Refuse {
            why: "the data of the purchase was not stored".into(),
        });
    }
    let key = Key::of(unsent.environment);
    if !settings.keys.has(key) {
        let environment = match unsent.environment {
            Environment::Production => "production",
            Environment::Sandbox => "test",
        };
        let flag = key.name().replace('_', "-");
        let why = format!(
            "{environment} purchase; no {} is set (`--{flag}`)",
            key.label()
        );
        return Err(Rendered::Skip { why });
    }
    if let Some(why) = revenue::not_counted_because(unsent) {
        return Err(Rendered::Skip {
            why: why.to_owned(),
        });
    }
    if unsent.event_type == PROFILE_UPDATED {
        return identify(&settings, unsent);
    }
    let identity = identity::of(&settings, unsent)?;
    let mut caps = Caps::default();
    let mut event = base(&settings, unsent, identity);
    event.insert("event_id".to_owned(), json!(event_id(unsent)));
    if !unsent.store.is_empty() {
        event.insert("platform".to_owned(), json!(caps.text(&unsent.store)));
    }
    if let Some(country) = unsent.data.get("purchase_country").and_then(Value::as_str) {
        event.insert("country".to_owned(), json!(caps.text(country)));
    }
    add_revenue(unsent, &mut event, &mut caps);
    if unsent.user_state.is_object() {
        event.insert(
            "user_properties".to_owned(),
            json!(properties::of_user(&settings, unsent, &mut caps)),
        );
    }
    let mut about = properties::of_event(unsent, &mut caps);
    if caps.cut > 0 {
        about.insert(CAPPED.to_owned(), json!(caps.cut));
    }
    event.insert("event_properties".to_owned(), Value::Object(about));
    Ok(text(unsent, event))
}

/// Renders a `profile.updated` as a `$identify`. The profile of a user without an external id is sent only if
/// `without_external_id` is `send`; otherwise it is skipped, since setting an external id causes another
/// `profile.updated`.
fn identify(settings: &Settings, unsent: &Unsent) -> Result<String, Rendered> {
    if !unsent.user_state.is_object() {
        return Err(Rendered::Skip {
            why: "its platform has since moved to another environment".into(),
        });
    }
    let identity = identity::of(settings, unsent).map_err(|rendered| match rendered {
        Rendered::Wait { why } => Rendered::Skip { why },
        other => other,
    })?;
    let mut event = base(settings, unsent, identity);
    event.insert("event_type".to_owned(), json!(IDENTIFY));
    let operations = properties::operations(settings, unsent, &mut Caps::default());
    event.insert("user_properties".to_owned(), operations);
    Ok(text(unsent, event))
}

fn base(settings: &Settings, unsent: &Unsent, identity: Identity) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("event_type".to_owned(), json!(unsent.event_type));
    event.insert("insert_id".to_owned(), json!(unsent.event_id));
    event.insert("time".to_owned(), json!(time(unsent)));
    event.insert("library".to_owned(), json!(format!("settle/{VERSION}")));
    event.insert(
        "ingestion_metadata".to_owned(),
        json!({ "source_name": "settle", "source_version": VERSION }),
    );
    event.extend(
        settings
            .partner_id
            .as_ref()
            .map(|id| ("partner_id".to_owned(), json!(id))),
    );
    event.insert("device_id".to_owned(), json!(identity.device_id));
    event.extend(
        identity
            .user_id
            .map(|user_id| ("user_id".to_owned(), json!(user_id))),
    );
    event
}

fn text(unsent: &Unsent, event: Map<String, Value>) -> String {
    json!({ "sandbox": unsent.environment == Environment::Sandbox, "event": event }).to_string()
}

fn add_revenue(unsent: &Unsent, event: &mut Map<String, Value>, caps: &mut Caps) {
    let Some(revenue) = revenue::of(unsent) else {
        return;
    };
    // `price` and `quantity` are not sent: Amplitude would use their product instead of `revenue`.
    event.insert("revenue".to_owned(), json!(revenue.amount));
    event.insert("revenueType".to_owned(), json!(revenue.kind));
    event.insert("currency".to_owned(), json!("USD"));
    if let Some(sku) = revenue::sku(unsent) {
        event.insert("productId".to_owned(), json!(caps.text(sku)));
    }
}

/// Returns the store's time of the event if it is known and valid, else the time at which the event was recorded.
fn time(unsent: &Unsent) -> i64 {
    let millis = |time: Timestamp| time.micros().div_euclid(1000);
    unsent
        .occurred_at
        .map(millis)
        .filter(|time| VALID_TIMES.contains(time))
        .unwrap_or_else(|| millis(unsent.created_at))
}

/// Returns the `event_id`, by which Amplitude orders a user's events that have the same `time`: revision × 100 + the
/// event's position in the revision.
fn event_id(unsent: &Unsent) -> i64 {
    let index = unsent
        .siblings
        .iter()
        .position(|one| one.event_id == unsent.event_id)
        .map_or(0, |index| index + 1);
    let index = if unsent.event_type == PURCHASE_UPDATED {
        LAST_INDEX
    } else {
        index.min(LAST_INDEX - 1)
    };
    let index = i64::try_from(index).unwrap_or_default();
    unsent
        .revision
        .max(0)
        .saturating_mul(100)
        .saturating_add(index)
        .min(i64::from(i32::MAX))
}
