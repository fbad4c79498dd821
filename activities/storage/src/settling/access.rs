//! The price of a purchase that a device reported, and the devices with access to the purchase: those with a verified
//! claim of it, in the order of verification, and those of its user whose login the customer's own server signed.

use crate::events::alarms;
use db::alarm::About;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::event::{ClaimType, DeviceAccess, DevicePrice, MAX_DEVICES, PriceDoubt};
use domain::{CollapseKey, DeviceId, PlatformId, Timestamp, UserId};
use rust_decimal::Decimal;
use std::collections::BTreeSet;

row! {
    struct DeviceRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        created_at: Timestamp,
        last_active_at: Timestamp,
        seen_at: Timestamp,
        platform_type: String,
        is_original: bool,
    }
}

/// Columns of a device `d`: when it registered, when it was last seen, and when it was last active. The last of these
/// is the end of its newest session; if no session has ended, the time of its newest event; without a session, that of
/// its last request. The first launch that a device reports is not used: its clock may be wrong, and each report
/// overwrites the value.
const DATES: &str = "d.created_at, d.seen_at, COALESCE(
            (SELECT MAX(s.closed_at) FROM device_sessions s
            WHERE s.platform_id = d.platform_id AND s.device_id = d.id AND s.closed_at IS NOT NULL),
            (SELECT MAX(s.last_event_at) FROM device_sessions s
            WHERE s.platform_id = d.platform_id AND s.device_id = d.id),
            d.seen_at) AS last_active_at";

const CLAIMED: Sql = statement! {hot "claims_of_key", "
    SELECT c.platform_id, c.device_id, {DATES}, f.store AS platform_type, TRUE AS is_original
    FROM claims c
    JOIN devices d ON d.platform_id = c.platform_id AND d.id = c.device_id
    JOIN platforms f ON f.id = c.platform_id
    WHERE c.collapse_key = ? AND c.status = 'verified'
    ORDER BY c.verified_at, c.created_at, c.device_id
    LIMIT ?
"};

/// Selects the devices of the user with a signed login. One with a claim of the store customer who bought the purchase
/// (`is_original`) has the same access as one that claims the purchase.
const SIGNED: Sql = statement! {hot "devices_user", "
    SELECT d.platform_id, d.id AS device_id, {DATES}, f.store AS platform_type,
        EXISTS (SELECT 1 FROM claims c JOIN purchases p ON p.platform_id = c.platform_id
            AND p.app_user_id = c.app_user_id
            WHERE c.platform_id = d.platform_id AND c.device_id = d.id AND c.status = 'verified'
            AND p.collapse_key = ?) AS is_original
    FROM devices d
    JOIN platforms f ON f.id = d.platform_id
    WHERE d.user_id = ? AND d.is_signed
    ORDER BY d.created_at, d.id
    LIMIT ?
"};

row! {
    struct PriceRow {
        sku: String,
        price: Decimal,
        currency: String,
        marketplace: Option<String>,
    }
}

/// The price of the first verified claim applies permanently.
const PRICE: Sql = statement! {hot "claims_of_key", "
    SELECT sku, price, currency, marketplace
    FROM claims
    WHERE collapse_key = ? AND status = 'verified' AND kind = 'purchased' AND price IS NOT NULL
        AND currency IS NOT NULL AND sku IS NOT NULL
    ORDER BY verified_at, created_at, device_id
    LIMIT 1
"};

/// The devices with access to a purchase and the reported price, which are fetched later.
pub struct Accesses {
    price: Ahead<'static, PriceRow>,
    claimed: Ahead<'static, DeviceRow>,
    signed: Option<Ahead<'static, DeviceRow>>,
}

impl Accesses {
    /// Begins to read the devices with access to a purchase of this user, and the reported price.
    pub fn read(
        write: &mut Write<'_>,
        key: CollapseKey,
        user: Option<UserId>,
    ) -> Result<Self, Error> {
        let limit = i64::try_from(MAX_DEVICES).unwrap_or(i64::MAX);
        let claimed = sql(CLAIMED).bind(key).bind(limit).ahead(write.connection)?;
        let signed = user
            .map(|user| sql(SIGNED).bind((key, user, limit)).ahead(write.connection))
            .transpose()?;
        let price = sql(PRICE).bind(key).ahead(write.connection)?;
        Ok(Self {
            price,
            claimed,
            signed,
        })
    }

    /// Returns the devices, earliest verified claim first, and the price.
    pub fn fetch(
        self,
        write: &mut Write<'_>,
    ) -> Result<(Vec<DeviceAccess>, Option<DevicePrice>), Error> {
        let mut rows = self.claimed.all(write.connection)?;
        let claimed: BTreeSet<_> = rows
            .iter()
            .map(|row| (row.platform_id, row.device_id))
            .collect();
        let signed = self
            .signed
            .map_or_else(|| Ok(Vec::new()), |signed| signed.all(write.connection))?;
        rows.extend(
            signed
                .into_iter()
                .filter(|row| !claimed.contains(&(row.platform_id, row.device_id))),
        );
        let devices = rows
            .into_iter()
            .take(MAX_DEVICES)
            .map(DeviceRow::access)
            .collect();
        let price = self.price.first(write.connection)?.map(PriceRow::price);
        Ok((devices, price))
    }
}

impl DeviceRow {
    fn access(self) -> DeviceAccess {
        let claim_type = if self.is_original {
            ClaimType::OriginalPurchaser
        } else {
            ClaimType::CrossPlatformShared
        };
        DeviceAccess {
            id: self.device_id,
            platform_type: self.platform_type,
            claim_type,
            first_launch: self.created_at,
            // The first request of a device reports events from before its registration.
            last_active: self.last_active_at.max(self.created_at),
            seen_at: self.seen_at,
        }
    }
}

impl PriceRow {
    fn price(self) -> DevicePrice {
        let Self {
            sku,
            price,
            currency,
            marketplace,
        } = self;
        DevicePrice {
            sku,
            price,
            currency,
            marketplace,
        }
    }
}

/// Raises the alarm about a price that a device reported and that does not count.
pub fn alarm(write: &mut Write<'_>, platform: PlatformId, doubt: PriceDoubt) -> Result<(), Error> {
    let detail = match doubt {
        PriceDoubt::ForeignCurrency => {
            "a device reported a price in a currency other than its marketplace's: the catalogue price is used"
        }
        PriceDoubt::Implausible => {
            "a device reported a price far from the catalogue price: the price of the purchase is unknown until a \
             sales report contains it"
        }
    };
    alarms::raise(write, About::Platform(platform), "device_price", detail)
}
