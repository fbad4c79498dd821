//! The body of `revenue.adjusted`: the revenue of a payment changed after the payment's own event.

use super::choice::REVENUE_ADJUSTED;
use super::schema::additions_are_optional;
use crate::environment::Environment;
use crate::ids::{AppId, CollapseKey, EventId, PlatformId, UserId};
use crate::payment::EntryKind;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// The input of the body of one `revenue.adjusted`.
#[derive(Debug, Clone, Copy)]
pub struct RevenueAdjusted<'a> {
    pub id: EventId,
    pub created_at: Timestamp,
    pub app: AppId,
    pub platform: PlatformId,
    pub collapse_key: CollapseKey,
    pub user: Option<UserId>,
    pub environment: Environment,
    /// The event that announced the changed payment.
    pub payment_event: EventId,
    /// The number of the payment within its purchase, from 0.
    pub number: i64,
    pub sku: Option<&'a str>,
    /// A refund, a restored payment or a correction.
    pub kind: EntryKind,
    pub usd: Decimal,
    pub occurred_at: Timestamp,
    /// The transaction in the sales report that shows the change.
    pub transaction_id: Option<&'a str>,
}

/// A change in a payment's revenue: a refund, a payment that became valid again, or a corrected price.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = additions_are_optional)]
pub(crate) struct RevenueBody {
    /// Id of the event, the same for every destination that receives it.
    id: Uuid,
    /// Type of the event.
    event_type: String,
    /// When the event was recorded.
    #[schemars(extend("format" = "date-time"))]
    created_date: String,
    /// Id of the purchase's app.
    app_id: Uuid,
    /// Id of the purchase's platform.
    platform_id: Uuid,
    /// Key of the purchase, as in its own events.
    collapse_key: Uuid,
    /// Id of the customer, as in `user.*` events; null if the purchase has none.
    user_id: Option<Uuid>,
    /// `production` or `sandbox`.
    #[schemars(extend("enum" = ["production", "sandbox"]))]
    environment: &'static str,
    /// `id` of the event that announced the payment.
    payment_event_id: Uuid,
    /// Number of the payment within its purchase, from 0.
    #[schemars(range(min = 0))]
    number: i64,
    /// SKU of the paid term.
    sku: Option<String>,
    /// Why the revenue changed: `refund`, `restored` for a refunded payment that became valid again, or `correction` of
    /// a price.
    #[schemars(extend("enum" = ["refund", "restored", "correction"]))]
    kind: &'static str,
    /// Change in the payment's revenue, in USD; negative for a refund.
    #[schemars(regex(pattern = r"^-?\d+(\.\d+)?$"))]
    usd: String,
    /// When the change occurred, by the store's clock.
    occurred_at: Timestamp,
    /// Id of the transaction in the sales report; null if no report contains it.
    transaction_id: Option<String>,
    /// Whether the amount is settle's estimate, derived from the state that the store shows because no sales report
    /// contains it yet. A report that differs causes a further event.
    is_estimate: bool,
}

impl RevenueAdjusted<'_> {
    /// Returns the body, which is the same for every destination.
    pub fn body(&self) -> Value {
        let body = RevenueBody {
            id: self.id.uuid(),
            event_type: REVENUE_ADJUSTED.to_owned(),
            created_date: self.created_at.with_offset(),
            app_id: self.app.uuid(),
            platform_id: self.platform.uuid(),
            collapse_key: self.collapse_key.uuid(),
            user_id: self.user.map(UserId::uuid),
            environment: self.environment.as_str(),
            payment_event_id: self.payment_event.uuid(),
            number: self.number,
            sku: self.sku.map(str::to_owned),
            kind: self.kind.as_str(),
            usd: self.usd.to_string(),
            occurred_at: self.occurred_at,
            transaction_id: self.transaction_id.map(str::to_owned),
            is_estimate: self.transaction_id.is_none() && self.kind != EntryKind::Correction,
        };
        // Serialization fails only for maps whose keys are not strings; the body has none.
        serde_json::to_value(body).unwrap_or_default()
    }
}
