//! A purchase for display: its state, its payments, and its explanation.

use crate::edge::Edge;
use crate::error::Error;
use crate::resources::explain::{self, Explained};
use crate::resources::platforms;
use crate::resources::standing::{Known, Standing};
use domain::CollapseKey;
use serde_json::Value;
use storage::{Destination, Page, PaymentSubject, PaymentView, Platform, PurchaseExplanation};

/// Maximum number of payments that are read: the latest ones.
const PAYMENTS: i64 = 100;

/// A purchase's data for display, with its explanation.
pub struct ReadPurchase {
    pub explained: Explained<PurchaseExplanation>,
    /// State of the purchase in sentences; `None` before it is settled.
    pub standing: Option<Standing>,
    /// Latest payments and their changes, newest first.
    pub payments: Vec<PaymentView>,
    pub platform: Option<Platform>,
}

impl ReadPurchase {
    /// Reads a purchase's stored data.
    ///
    /// # Errors
    /// 404 if there is no such purchase.
    pub async fn of(edge: &Edge, key: CollapseKey) -> Result<Self, Error> {
        let explained = explain::of_purchase(edge, key).await?;
        let facts = &explained.facts;
        let platform = match &facts.purchase {
            Some(view) => Some(view.platform_id),
            None => facts.notifications.first().map(|one| one.view.platform_id),
        };
        let platform = match platform {
            Some(id) => platforms::stored(edge, id).await.ok().flatten(),
            None => None,
        };
        let page = Page {
            cursor: None,
            limit: PAYMENTS,
        };
        let payments = edge
            .store
            .payments(None, PaymentSubject::Purchases(vec![key]), page)
            .await?
            .items;
        let standing = standing(edge, key, facts, &payments).await?;
        Ok(Self {
            explained,
            standing,
            payments,
            platform,
        })
    }
}

/// Returns the purchase's state in sentences; `None` before it is settled.
async fn standing(
    edge: &Edge,
    key: CollapseKey,
    facts: &PurchaseExplanation,
    payments: &[PaymentView],
) -> Result<Option<Standing>, Error> {
    let Some(view) = &facts.purchase else {
        return Ok(None);
    };
    let destinations: Vec<Destination> = facts
        .addressees
        .iter()
        .map(|one| one.destination.clone())
        .collect();
    let deliveries = edge.store.newest_deliveries(vec![key]).await?;
    let unchosen = edge.store.unchosen_payments(view.app_id, vec![key]).await?;
    let unlisted = edge.store.unlisted(vec![key]).await?;
    let known = Known {
        deliveries: &deliveries,
        destinations: &destinations,
        payments,
        unchosen: &unchosen,
        unlisted: &unlisted,
        now: (edge.clock)(),
    };
    let is_active = view
        .data
        .pointer("/data/is_active")
        .and_then(Value::as_bool);
    Ok(Some(Standing::of(view, is_active, &known)))
}
