//! Moves of store customers between two named customers, caused by a device, as far as the platform's policy allows.
//! Each has an audit entry, and many within a day raise an alarm.

use crate::events::alarms;
use crate::people::movement::{Cause, Move, MovedDevices};
use crate::people::moves::{self, Moved};
use crate::people::reviews;
use crate::purchases::users::{StoreCustomer, UserRow};
use db::alarm::About;
use db::audit_log::{Actor, AuditEntry};
use db::config::Installation;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::{AppId, DevicePlace};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Operation in the audit entry of a move. An index depends on it.
const OPERATION: &str = "device.move";
/// Number of moves of an app within [`DAY`] beyond which an alarm is raised.
const MANY: i64 = 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const RECENT: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM audit_log WHERE app_id = ? AND operation = 'device.move' AND at > ? LIMIT {MANY}) recent
"};

/// A request to move store customers from one user to another.
pub struct Order<'a> {
    pub app: AppId,
    pub from: &'a UserRow,
    pub to: &'a UserRow,
    pub customers: BTreeSet<StoreCustomer>,
    /// See [`Move`].
    pub announced_before: usize,
}

/// Moves store customers to the user who is logged in on a device, if the policy allows it. Both users must have
/// external ids and be locked.
pub fn move_customers(
    write: &mut Write<'_>,
    installation: Installation,
    place: DevicePlace,
    order: Order<'_>,
) -> Result<Option<Moved>, Error> {
    let Order {
        app,
        from,
        to,
        customers,
        announced_before,
    } = order;
    if !reviews::may_move(write, app, place.platform, from.id, to.id)? {
        return Ok(None);
    }
    let request = Move {
        app,
        from,
        to,
        customers: Some(customers),
        cause: Cause::Login,
        author: None,
        undoes: None,
        is_announced: true,
        announced_before,
        devices: MovedDevices::None,
    };
    let moved = moves::carry_out(write, installation, &request)?;
    let before: Option<i64> = sql(RECENT)
        .bind(app)
        .bind(write.now()?.minus(DAY))
        .value(write.connection)?;
    let entry = AuditEntry::on(app, moved.id)
        .before(json!({ "user_id": from.id }))
        .after(json!({ "user_id": to.id }));
    entry.record(
        write,
        &Actor::named(&format!("device {}", place.device)),
        OPERATION,
    )?;
    if before.unwrap_or(0) >= MANY {
        let detail = format!(
            "logins on devices moved purchases of more than {MANY} identified customers to others within a day: \
             `settle audit-log` lists each transfer, `settle customer undo` undoes one, and with `--transfers review` \
             a person approves each first"
        );
        alarms::raise(
            write,
            About::Platform(place.platform),
            "many_transfers",
            &detail,
        )?;
    }
    Ok(Some(moved))
}
