//! The events of a transfer: for each purchase that gives access, `user.subscription.transferred.from` with the state
//! of its former owner, `user.subscription.transferred.to` with that of the new one, and `purchase.updated`, in a
//! revision of its own. All show the users as they are after the whole move, at the moment of the announcement.

use crate::events::event::StoredEvent;
use crate::purchases::cause::{self, ADD_CAUSE, RevisionCause};
use crate::purchases::owned::{UserPurchases, owned};
use crate::purchases::purchase::{self, Origin, PurchaseRow, Urgency};
use crate::purchases::user_devices;
use crate::purchases::users::{Raced, UserRow};
use crate::settings::destinations::{self, Destination};
use crate::settings::tombstones::is_tombstone;
use crate::settling::comparison::{Compared, Comparison};
use crate::settling::events;
use crate::settling::facts::Facts;
use crate::settling::profiles::{self, ProfileCheck, Subject, Trigger};
use crate::settling::revision::{Announcement, Carried, Settling};
use db::config::Installation;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::event;
use domain::settling::Record;
use domain::user::{
    Customer, OwnedPurchase, TRANSFERRED_FROM, TRANSFERRED_TO, UserDevice, UserEvent, UserState,
};
use domain::{AppId, CollapseKey, Decision, Environment, PlatformId, TransferId, UserId};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A transfer that was carried out: its purchases belong to the new owner, or to another one if they moved on since.
pub struct CompletedTransfer<'a> {
    pub installation: Installation,
    pub app: AppId,
    pub id: TransferId,
    /// Cause of the transfer.
    pub cause: RevisionCause,
    /// The former owner, with the revision that the announcement raised.
    pub from: &'a UserRow,
    pub to: &'a UserRow,
    /// The locked users who own the purchases now.
    pub owners: &'a BTreeMap<UserId, UserRow>,
}

/// A user of a transfer, with all their purchases after it.
struct Side<'a> {
    event_type: &'static str,
    user: &'a UserRow,
    owned: Vec<OwnedPurchase>,
    devices: Vec<UserDevice>,
    /// Data that the events of all purchases of an environment share.
    states: HashMap<Environment, SideState>,
}

/// The state of a user in an environment.
#[derive(Clone)]
struct SideState {
    /// State in the body.
    state: Arc<UserState>,
    /// The columns of the event, without its body.
    stored: StoredEvent,
}

impl<'a> Side<'a> {
    fn read(
        write: &mut Write<'_>,
        app: AppId,
        event_type: &'static str,
        user: &'a UserRow,
    ) -> Result<Self, Error> {
        let owned = owned(write.connection, app, user.id)?;
        let devices = user_devices::of(write.connection, user.id)?;
        Ok(Self {
            event_type,
            user,
            owned,
            devices,
            states: HashMap::new(),
        })
    }

    /// Returns the state in an environment, which is computed once.
    fn state(
        &mut self,
        write: &mut Write<'_>,
        destinations: &[Destination],
        app: AppId,
        environment: Environment,
    ) -> Result<SideState, Error> {
        if let Some(known) = self.states.get(&environment) {
            return Ok(known.clone());
        }
        let purchases = UserPurchases {
            user: self.user.id,
            owned: &self.owned,
            environment,
        };
        let stored = events::user_state(write, destinations, app, purchases, self.user.revision)?;
        let state = SideState {
            state: Arc::new(UserState::apart(&self.owned, environment)),
            stored,
        };
        self.states.insert(environment, state.clone());
        Ok(state)
    }
}

/// Data that the announcements of one transfer share.
struct Common<'a> {
    destinations: Vec<Destination>,
    sides: [Side<'a>; 2],
    /// The platforms for which the profiles were compared already: a profile depends on nothing else of a purchase.
    compared: BTreeSet<PlatformId>,
}

/// Returns the purchases of a user that give access now.
pub fn entitling(
    connection: &mut AnyConnection,
    app: AppId,
    user: UserId,
) -> Result<BTreeSet<CollapseKey>, Error> {
    let owned = owned(connection, app, user)?;
    Ok(owned
        .iter()
        .filter(|one| one.is_entitling())
        .map(|one| one.collapse_key)
        .collect())
}

const UPDATE: Sql = statement! {"
    UPDATE purchases
    SET {ADD_CAUSE}, revision = ?, digest = ?, content_digest = ?, settling = settling + 1, fingerprint = '',
        next_wake_at = ?, urgency = ?, updated_at = ?
    WHERE collapse_key = ?
"};

impl CompletedTransfer<'_> {
    /// Announces purchases after their move. Their users must be locked. The states are computed once for all
    /// purchases.
    pub fn announce(&self, write: &mut Write<'_>, keys: &[CollapseKey]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut shared = Common {
            destinations: destinations::of_app(write.connection, self.app)?,
            sides: [
                Side::read(write, self.app, TRANSFERRED_FROM, self.from)?,
                Side::read(write, self.app, TRANSFERRED_TO, self.to)?,
            ],
            compared: BTreeSet::new(),
        };
        for key in keys {
            self.announce_one(write, *key, &mut shared)?;
        }
        Ok(())
    }

    fn announce_one(
        &self,
        write: &mut Write<'_>,
        key: CollapseKey,
        shared: &mut Common<'_>,
    ) -> Result<(), Error> {
        let row = purchase::lock(write, key)?;
        let owner = row
            .user_id
            .and_then(|owner| self.owners.get(&owner))
            .ok_or_else(|| Error::unavailable(Raced))?;
        let origin =
            purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
        let record = nothing_new(key, &row)?;
        let facts = Facts::read(write, &record, &origin, Some(owner.id))?;
        let Facts {
            mut listings,
            replaced,
            ledger,
            accesses,
            ..
        } = facts;
        let settling = Settling {
            record: Cow::Borrowed(&record),
            origin: &origin,
            owner: Some(owner),
            app_user_id: row.app_user_id.as_deref(),
            installation: self.installation,
        };
        let compared = Compared {
            listings: &mut listings,
            replaced,
            ledger,
            accesses,
        };
        let Comparison {
            description,
            content_digest,
            booking,
            ..
        } = settling.compare(write, &row, compared)?;
        // The causes of its pending rechecks are announced too; its next settling still carries the rechecks out.
        let (noted, mut causes) = (self.cause.json()?, row.causes.clone().unwrap_or_default());
        causes.add(self.cause.clone());
        let Common {
            destinations,
            sides,
            compared,
        } = shared;
        let announcement = Announcement {
            settling: &settling,
            epoch: write.epoch()?,
            revision: row.revision.saturating_add(1),
            coalesced: 0,
            causes: causes.json()?,
            description: &description,
            destinations,
            owned: Vec::new(),
            devices: Vec::new(),
        };
        let mut carried = Vec::with_capacity(sides.len());
        for side in sides.iter_mut() {
            carried.push(self.announce_to(write, &announcement, side)?);
        }
        events::announce(write, &announcement, &booking)?;
        sql(UPDATE)
            .bind_all(cause::noted(&noted))
            .bind((
                announcement.revision,
                event::state_digest(&description.data),
                content_digest,
                write.now()?,
                Urgency::Person,
                write.now()?,
                key,
            ))
            .later(write.connection)?;
        if !compared.insert(origin.platform_id) {
            return Ok(());
        }
        // An anonymous user who was merged into another one keeps no profile.
        let users = sides
            .iter()
            .zip(&carried)
            .filter(|(side, _)| side.user.external_id.is_some());
        for (side, carried) in users {
            let subject = subject(&announcement, side.user, &origin);
            profiles::queue(write, &subject, destinations, Some(carried))?;
        }
        Ok(())
    }

    /// Writes the event of one of the two users.
    fn announce_to(
        &self,
        write: &mut Write<'_>,
        announcement: &Announcement<'_>,
        side: &mut Side<'_>,
    ) -> Result<Carried, Error> {
        let settling = announcement.settling;
        let event = announcement.event(side.event_type, 0);
        let (destinations, app) = (announcement.destinations, settling.origin.app_id);
        let SideState { state, stored } =
            side.state(write, destinations, app, settling.environment())?;
        let customer = Customer {
            user_id: side.user.id,
            external_id: side.user.external_id.clone(),
            // A tombstone identifies no customer.
            app_user_id: settling
                .app_user_id
                .filter(|name| !is_tombstone(name))
                .map(str::to_owned),
        };
        let body = UserEvent {
            id: event.id,
            event_type: side.event_type,
            event_platform: &settling.origin.store,
            receipt_id: &settling.origin.receipt_id,
            details: &announcement.description.details,
            occurred_at: Some(write.now()?),
            created_at: write.now()?,
            customer: &customer,
            user_revision: side.user.revision,
            state: &state,
            devices: &side.devices,
            transfer: Some(self.id),
        }
        .body()
        .to_string();
        let stored = events::with_body(stored, Some(write.now()?), body);
        let to = events::store(write, announcement, &event, stored)?;
        Ok(Carried {
            user_revision: side.user.revision,
            to: to.into_iter().collect(),
        })
    }
}

fn subject<'a>(
    announcement: &Announcement<'_>,
    owner: &'a UserRow,
    origin: &'a Origin,
) -> Subject<'a> {
    Subject {
        check: ProfileCheck {
            origin,
            owner,
            trigger: Trigger::Transfer,
        },
        collapse_key: announcement.settling.record.collapse_key,
        revision: announcement.revision,
        environment: announcement.settling.environment(),
        traceparent: None,
    }
}

/// Returns a record that decides nothing new about a purchase.
fn nothing_new(key: CollapseKey, row: &PurchaseRow) -> Result<Record, Error> {
    let decision = Decision {
        purchase: row.known()?,
        transitions: Vec::new(),
        outcomes: Vec::new(),
        waits: None,
        wake: row.next_wake_at,
        lag: None,
        refunds: Vec::new(),
        older: Vec::new(),
    };
    Ok(Record {
        collapse_key: key,
        settling: row.settling.saturating_add(1),
        revision: row.revision,
        seqs: Vec::new(),
        decision,
        is_replaced: false,
        settings_version: None,
        is_queried: false,
        from_devices: Vec::new(),
        is_answer: false,
        is_real: false,
        traceparent: None,
    })
}
