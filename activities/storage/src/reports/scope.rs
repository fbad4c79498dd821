//! The app to which a resource belongs, which decides whether a key of one app can access it.

use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{clean, sql};
use domain::{AppId, CollapseKey, DestinationId, PlatformId};

/// The kinds of resources that belong to an app, as named in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    App,
    Platform,
    Destination,
    /// A purchase, even if it only has notifications yet.
    Purchase,
    Message,
    /// An event of a purchase, a user, a destination or a device.
    Event,
    Delivery,
    Transfer,
    /// A transfer review: whether purchases may move.
    Review,
    Key,
    /// A person's sign-in to the dashboard.
    SignIn,
    /// An alarm about a platform or a destination.
    Alarm,
    /// A duty to a platform's store.
    Duty,
}

const APP: Sql = statement!("SELECT id AS value FROM apps WHERE id = ?");
const PLATFORM: Sql = statement!("SELECT app_id AS value FROM platforms WHERE id = ?");
const DESTINATION: Sql = statement!("SELECT app_id AS value FROM destinations WHERE id = ?");
const PURCHASE: Sql = statement! {"
    SELECT app_id AS value FROM purchases WHERE collapse_key = ?
    UNION
    SELECT f.app_id AS value FROM notifications n JOIN platforms f ON f.id = n.platform_id WHERE n.collapse_key = ?
"};
const PLATFORM_OF_PURCHASE: Sql = statement! {"
    SELECT platform_id AS value FROM purchases WHERE collapse_key = ?
    UNION
    SELECT platform_id AS value FROM notifications WHERE collapse_key = ?
    LIMIT 1
"};
const MESSAGE: Sql = statement! {"
    SELECT DISTINCT f.app_id AS value
    FROM notifications n
    JOIN platforms f ON f.id = n.platform_id
    WHERE n.message_id = ?
"};
const EVENT: Sql = statement! {"
    SELECT COALESCE(p.app_id, d.app_id, u.app_id, e.app_id) AS value
    FROM events e
    LEFT JOIN purchases p ON p.collapse_key = e.collapse_key
    LEFT JOIN destinations d ON d.id = e.collapse_key
    LEFT JOIN users u ON u.id = e.user_id
    WHERE e.id = ? AND COALESCE(p.app_id, d.app_id, u.app_id, e.app_id) IS NOT NULL
    UNION
    SELECT f.app_id AS value FROM device_events v JOIN platforms f ON f.id = v.platform_id WHERE v.id = ?
"};
const DELIVERY: Sql = statement! {"
    SELECT d.app_id AS value
    FROM deliveries l
    JOIN destinations d ON d.id = l.destination_id
    WHERE l.id = ?
"};
const TRANSFER: Sql = statement!("SELECT app_id AS value FROM transfers WHERE id = ?");
const REVIEW: Sql = statement!("SELECT app_id AS value FROM transfer_reviews WHERE id = ?");
const ALARM: Sql =
    statement!("SELECT app_id AS value FROM alarms WHERE id = ? AND app_id IS NOT NULL");
const DUTY: Sql = statement! {"
    SELECT f.app_id AS value FROM duties d JOIN platforms f ON f.id = d.platform_id WHERE d.id = ?
"};
const KEY: Sql =
    statement!("SELECT app_id AS value FROM api_keys WHERE id = ? AND app_id IS NOT NULL");
const SIGN_IN: Sql =
    statement!("SELECT app_id AS value FROM sign_ins WHERE id = ? AND app_id IS NOT NULL");

const PLATFORMS: Sql = statement!("SELECT id AS value FROM platforms WHERE app_id = ? ORDER BY id");
const DESTINATIONS: Sql =
    statement!("SELECT id AS value FROM destinations WHERE app_id = ? ORDER BY id");

/// Returns the platforms to which a filter restricts rows; `None` for all.
pub fn platforms(
    connection: &mut AnyConnection,
    app: Option<AppId>,
    platform: Option<PlatformId>,
) -> Result<Option<Vec<PlatformId>>, Error> {
    let Some(app) = app else {
        return Ok(platform.map(|one| vec![one]));
    };
    let mut all: Vec<PlatformId> = sql(PLATFORMS).bind(app).values(connection)?;
    all.retain(|one| platform.is_none_or(|wanted| wanted == *one));
    Ok(Some(all))
}

/// Returns the destinations to which a filter restricts rows; `None` for all.
pub fn destinations(
    connection: &mut AnyConnection,
    app: Option<AppId>,
    destination: Option<DestinationId>,
) -> Result<Option<Vec<DestinationId>>, Error> {
    let Some(app) = app else {
        return Ok(destination.map(|one| vec![one]));
    };
    let mut all: Vec<DestinationId> = sql(DESTINATIONS).bind(app).values(connection)?;
    all.retain(|one| destination.is_none_or(|wanted| wanted == *one));
    Ok(Some(all))
}

/// Finds the app of a platform.
pub fn app_of_platform(
    connection: &mut AnyConnection,
    platform: PlatformId,
) -> Result<Option<AppId>, Error> {
    sql(PLATFORM).bind(platform).value(connection)
}

/// Finds the app of a destination.
pub fn app_of_destination(
    connection: &mut AnyConnection,
    destination: DestinationId,
) -> Result<Option<AppId>, Error> {
    sql(DESTINATION).bind(destination).value(connection)
}

impl Store {
    /// Returns the platform of a purchase, even if the purchase only has notifications yet.
    pub async fn platform_of(&self, key: CollapseKey) -> Result<Option<PlatformId>, Error> {
        self.read(move |connection| {
            sql(PLATFORM_OF_PURCHASE)
                .bind(key)
                .bind(key)
                .value(connection)
        })
        .await
    }

    /// Returns the app to which a resource belongs, by the resource's id as text. `None` if there is no such resource,
    /// or if it does not belong to exactly one app.
    pub async fn app_of(&self, subject: Subject, id: &str) -> Result<Option<AppId>, Error> {
        // Ids are stored in lower case, except those of messages, which the store chose.
        let id = if subject == Subject::Message {
            id.to_owned()
        } else {
            id.to_ascii_lowercase()
        };
        let id = clean(&id).into_owned();
        self.read(move |connection| {
            let statement = match subject {
                Subject::App => sql(APP).bind(id),
                Subject::Platform => sql(PLATFORM).bind(id),
                Subject::Destination => sql(DESTINATION).bind(id),
                Subject::Purchase => sql(PURCHASE).bind(id.clone()).bind(id),
                Subject::Message => sql(MESSAGE).bind(id),
                Subject::Event => sql(EVENT).bind(id.clone()).bind(id),
                Subject::Delivery => sql(DELIVERY).bind(id),
                Subject::Transfer => sql(TRANSFER).bind(id),
                Subject::Review => sql(REVIEW).bind(id),
                Subject::Key => sql(KEY).bind(id),
                Subject::SignIn => sql(SIGN_IN).bind(id),
                Subject::Alarm => sql(ALARM).bind(id),
                Subject::Duty => sql(DUTY).bind(id),
            };
            let apps: Vec<AppId> = statement.values(connection)?;
            Ok(apps
                .first()
                .copied()
                .filter(|first| apps.iter().all(|app| app == first)))
        })
        .await
    }
}
