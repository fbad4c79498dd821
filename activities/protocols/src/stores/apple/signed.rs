//! The contents that Apple signs about a purchase: transactions and renewal information, as decoded members.
//! <https://developer.apple.com/documentation/appstoreserverapi/jwstransactiondecodedpayload>
//!
//! Members that this version does not know, and values of another form, never prevent reading the others.

use domain::Timestamp;
use domain::notification::MAX_ID_BYTES;
use domain::period::RefundExtent;
use domain::stores::apple::{
    Intent, OfferKind, Ownership, PriceTier, ProductKind, Renewal, Revocation, RevocationKind,
    TransactionCause, TransactionFact, amount, environment, refund_extent, total,
};
use domain::text::is_plain;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// Decoded members of a signed content.
pub type Members = Map<String, Value>;

/// The last time that can be written with a year of four digits.
const LATEST: Timestamp = Timestamp::from_millis(253_402_300_799_000);
/// The discount of an offer that costs nothing.
const FREE_TRIAL: &str = "FREE_TRIAL";
/// The reason of transactions that share their period with another one.
const SEAT_ADDITION: &str = "SEAT_ADDITION";

/// A transaction of a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// The id of the purchase: that of its first transaction.
    pub purchase_id: String,
    pub bundle_id: Option<String>,
    pub fact: TransactionFact,
    pub account: Account,
}

/// The names of a customer in a signed content. They are in no debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The account token that the app set.
    pub token: Option<String>,
    /// The id of an Apple account's download of the app.
    pub app_transaction_id: Option<String>,
}

impl std::fmt::Debug for Account {
    /// Hides the names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

impl Account {
    fn of(members: &Members) -> Self {
        Self {
            token: text(members, "appAccountToken"),
            app_transaction_id: text(members, "appTransactionId"),
        }
    }
}

/// Renewal information of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRenewal {
    pub purchase_id: String,
    pub signed_at: Timestamp,
    pub environment: String,
    pub renewal: Renewal,
}

impl SignedTransaction {
    /// Parses the members of a transaction that was signed at this time; `None` without the ids and dates of every
    /// transaction, or if nothing is signed in its environment.
    pub fn of(members: &Members, signed_at: Timestamp) -> Option<Self> {
        let transaction_id = id(members, "transactionId")?;
        let purchase_id =
            id(members, "originalTransactionId").unwrap_or_else(|| transaction_id.clone());
        let offer = integer(members, "offerType").map(OfferKind::of);
        let quantity = integer(members, "quantity").and_then(|number| u32::try_from(number).ok());
        let quantity = quantity.filter(|number| *number > 0).unwrap_or(1);
        let reason = text(members, "transactionReason");
        let is_seat_addition = text(members, "additionalTransactionReason")
            .is_some_and(|reason| reason == SEAT_ADDITION);
        let is_renewal = reason.as_deref() == Some("RENEWAL");
        let cause = match () {
            () if is_renewal => TransactionCause::Renewal,
            // The transaction of the period to which seats were added has the same reason.
            () if is_seat_addition && transaction_id != purchase_id => {
                TransactionCause::SeatAddition
            }
            () => TransactionCause::Purchase,
        };
        let ownership = text(members, "inAppOwnershipType");
        let ownership = ownership.map_or(Ownership::Buyer, |name| Ownership::of(&name));
        let kind = text(members, "type");
        let discount = text(members, "offerDiscountType");
        Some(Self {
            purchase_id,
            bundle_id: text(members, "bundleId"),
            account: Account::of(members),
            fact: TransactionFact {
                signed_at,
                transaction_id,
                product: id(members, "productId")?,
                kind: kind.map_or(ProductKind::Unknown, |name| ProductKind::of(&name)),
                bought_at: time(members, "purchaseDate")?,
                began_at: time(members, "originalPurchaseDate"),
                expires_at: time(members, "expiresDate"),
                offer,
                is_free: discount.is_some_and(|name| name == FREE_TRIAL),
                cause,
                ownership,
                price: price(members),
                currency: text(members, "currency"),
                storefront: text(members, "storefront"),
                quantity,
                is_upgraded: members.get("isUpgraded") == Some(&Value::Bool(true)),
                revocation: revocation(members, signed_at),
                committed_until: members
                    .get("commitmentInfo")
                    .and_then(Value::as_object)
                    .and_then(|info| time(info, "commitmentExpiresDate")),
                environment: environment(&text(members, "environment")?)?,
            },
        })
    }
}

impl SignedRenewal {
    /// Parses the members of renewal information that was signed at this time; `None` if it names no purchase.
    pub fn of(members: &Members, signed_at: Timestamp) -> Option<Self> {
        let commitment = members.get("commitmentInfo").and_then(Value::as_object);
        let next = text(members, "autoRenewProductId");
        Some(Self {
            purchase_id: id(members, "originalTransactionId")?,
            signed_at,
            environment: text(members, "environment")?,
            renewal: Renewal {
                product: text(members, "productId")?,
                next_product: next,
                is_on: integer(members, "autoRenewStatus") == Some(1),
                renews_at: time(members, "renewalDate"),
                intent: integer(members, "expirationIntent").map(Intent::of),
                is_retried: members.get("isInBillingRetryPeriod") == Some(&Value::Bool(true)),
                grace_ends_at: time(members, "gracePeriodExpiresDate"),
                began_at: time(members, "recentSubscriptionStartDate"),
                committed_until: commitment.and_then(|info| time(info, "commitmentExpiresDate")),
            },
        })
    }
}

/// Returns the price of all seats or units.
fn price(members: &Members) -> Option<Decimal> {
    let price = integer(members, "price").map(amount);
    let Some(tiers) = seats(members).and_then(|info| info.get("priceTiers")?.as_array()) else {
        return price;
    };
    let tier = |tier: &Value| {
        let tier = tier.as_object()?;
        Some(PriceTier {
            price: amount(integer(tier, "price")?),
            seats: u32::try_from(integer(tier, "quantity")?).ok()?,
        })
    };
    // Without one of the tiers, the price of all seats is not known.
    let tiers: Option<Vec<_>> = tiers.iter().map(tier).collect();
    total(price, &tiers?)
}

fn seats(members: &Members) -> Option<&Members> {
    members.get("multiSeatInfo")?.as_object()
}

/// Returns the refund of a transaction, or the end of access that another customer paid. A refund of seats leaves the
/// transaction valid, and has no time of its own.
fn revocation(members: &Members, signed_at: Timestamp) -> Option<Revocation> {
    if let Some(at) = time(members, "revocationDate") {
        let kind = RevocationKind::of(text(members, "revocationType").as_deref());
        let percentage = integer(members, "revocationPercentage");
        return Some(Revocation {
            at,
            extent: refund_extent(kind, percentage),
            ends_access: true,
        });
    }
    let revoked = integer(seats(members)?, "revokedSeatQuantity")?;
    let revoked = u32::try_from(revoked).ok().filter(|seats| *seats > 0)?;
    Some(Revocation {
        at: signed_at,
        extent: RefundExtent::Units(revoked),
        ends_access: false,
    })
}

/// Returns a string that can be an id in a path.
pub fn id(members: &Members, name: &str) -> Option<String> {
    let found = text(members, name)?;
    let is_visible = found.bytes().all(|byte| byte.is_ascii_graphic());
    (is_visible && !matches!(found.as_str(), "." | "..")).then_some(found)
}

/// Returns a short string without control characters.
pub fn text(members: &Members, name: &str) -> Option<String> {
    let found = members.get(name)?.as_str()?;
    (is_plain(found, MAX_ID_BYTES) && found.len() <= MAX_ID_BYTES).then(|| found.to_owned())
}

/// Returns a 64-bit integer. A number with decimals, as Xcode writes times, is none.
pub fn integer(members: &Members, name: &str) -> Option<i64> {
    members.get(name)?.as_i64()
}

/// Returns a time in milliseconds since 1970.
pub fn time(members: &Members, name: &str) -> Option<Timestamp> {
    let at = integer(members, name).map(Timestamp::from_millis)?;
    (Timestamp::default()..=LATEST).contains(&at).then_some(at)
}
