//! The views of customers. This module is pure.

use super::address::{path, purchase_path};
use super::day::PastDay;
use super::environment::{Environment, environments};
use super::forms;
use super::list::all_of;
use super::record::CustomerRecord;
use super::statement::table;
use super::transfers::{self, TransferItem};
use crate::action::Action;
use crate::change::{Mistakes, Refused};
use crate::frame::Frame;
use crate::lists::Table;
use crate::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::search::Suggestion;
use crate::text::{capital, purchase_state, with_query};
use crate::visit::Visit;
use api::resources::customer_detail::{PurchaseStanding, ReadCustomer};
use api::resources::customers::Customer;
use api::resources::explain::customer::{ExplainedCustomer, ExplainedItem};
use api::resources::search::FoundCustomers;
use api::resources::standing::{Reached, is_bought_once};
use api::resources::undelivered::CustomerWarning;
use api::shell::quoted;
use askama::Template;
use domain::State;
use domain::event::{is_for_operators, types};
use storage::{App, DeliveryStatus, DeliveryView, EventView, PurchaseView, Role};

pub struct CustomerListRow {
    path: String,
    app: String,
    id: Code,
    own: Option<Code>,
    stores: Vec<Code>,
}

/// A warning at the top of a page.
pub struct Warning {
    pub sentence: Sentence,
    /// Name and page of the affected destination.
    pub destination: Option<(String, String)>,
}

impl Warning {
    fn new(visit: &Visit, of: &CustomerWarning) -> Self {
        let page = |id| visit.to(&format!("/ui/destinations/{id}"));
        let destination = of.destination.clone().zip(of.destination_id.map(page));
        Self {
            sentence: Sentence::new(&of.summary),
            destination,
        }
    }
}

/// Information to read before a customer is erased. The page itself cannot erase.
pub struct Erasing {
    /// Command for an administrator.
    pub command: String,
    /// Warning if the store continues to charge the customer.
    pub charged: Option<Sentence>,
    /// What the destinations receive, one sentence per kind of destination.
    pub learns: Vec<Sentence>,
}

impl Erasing {
    fn of(record: &CustomerRecord) -> Self {
        let (app, user) = (record.app.id, record.user());
        let notes = &record.read.detail.erasure;
        let learns = notes.destinations.iter();
        Self {
            command: format!(
                "settle customer erase --app {app} --user-id {user} --reason REASON --by NAME"
            ),
            charged: notes.charged.as_deref().map(Sentence::new),
            learns: learns.map(|text| Sentence::new(text)).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "customers/search.html")]
pub struct SearchPage<'a> {
    frame: &'a Frame,
    q: String,
    rows: Vec<CustomerListRow>,
    has_searched: bool,
    is_beginning: bool,
    meant: Option<Suggestion>,
    wrong: Option<String>,
}

impl<'a> SearchPage<'a> {
    /// Returns the page, with the results if there was a search.
    pub fn new(
        frame: &'a Frame,
        q: String,
        found: Option<FoundCustomers>,
        meant: Option<Suggestion>,
    ) -> Self {
        let row = |(app, one): &(App, Customer)| CustomerListRow {
            path: path(app.id, one.user_id),
            app: app.name.clone(),
            id: Code::short(one.user_id),
            own: one.external_id.as_ref().map(Code::short),
            stores: one.app_user_ids.iter().map(Code::short).collect(),
        };
        let has_searched = found.is_some();
        let FoundCustomers {
            all, is_beginning, ..
        } = found.unwrap_or_default();
        Self {
            frame,
            q,
            rows: all.iter().map(row).collect(),
            has_searched,
            is_beginning,
            meant,
            wrong: None,
        }
    }

    #[must_use]
    pub fn refused(self, refused: Refused) -> Self {
        let wrong = refused
            .fields
            .into_iter()
            .map(|wrong| wrong.expected)
            .next()
            .or(refused.detail);
        Self { wrong, ..self }
    }
}

/// A purchase, described for support.
pub struct Purchase {
    path: String,
    product: String,
    badges: Vec<Badge>,
    /// The store's id of the purchase.
    id: Option<Code>,
    summary: Sentence,
    /// Each destination, and what it received last.
    reached: Vec<(String, Sentence)>,
}

pub struct Event {
    path: String,
    name: String,
    at: Moment,
}

pub struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

pub struct Because {
    path: String,
    title: Sentence,
    sentences: Vec<Sentence>,
}

/// Why a destination received an event, or did not.
pub struct Why {
    destination: String,
    event_type: String,
    is_recorded: bool,
    items: Vec<Because>,
}

#[derive(Template)]
#[template(path = "customers/page.html")]
pub struct CustomerPage<'a> {
    frame: &'a Frame,
    path: String,
    app: String,
    id: Code,
    own: Option<Code>,
    device_name: Option<Code>,
    stores: Vec<Code>,
    revision: i64,
    /// Warnings at the top of the page.
    warnings: Vec<Warning>,
    environments: Vec<Environment>,
    devices: Vec<(Code, String)>,
    purchases: Vec<Purchase>,
    payments: Option<Table>,
    more_payments: Option<String>,
    /// State at the end of a day, if the address requests it.
    past: Option<PastDay>,
    today: String,
    more_purchases: Option<MorePurchases>,
    events: Vec<Event>,
    more_events: Option<String>,
    transfers: Vec<TransferItem>,
    destinations: Vec<Choice>,
    types: Vec<Choice>,
    why: Option<Why>,
    actions: Vec<Action>,
    erasing: Erasing,
    is_admin: bool,
    refused: Refused,
}

impl<'a> CustomerPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: &CustomerRecord,
        explained: Option<ExplainedCustomer>,
    ) -> Self {
        let read = &of.read;
        let (detail, customer) = (&read.detail, &read.detail.customer);
        let transfers = detail.transfers.iter();
        let transfers: Vec<TransferItem> = transfers
            .map(|one| TransferItem::new(visit, one, of.user()))
            .collect();
        let is_gone = transfers::gone(&transfers).is_some();
        let wanted = |name: &str| visit.query(name).unwrap_or_default();
        let destination = wanted("destination_id");
        let event_type = visit
            .query("type")
            .unwrap_or_else(|| newest_type(of, &destination).to_owned());
        let choice = |value: String, label: String, chosen: &str| Choice {
            is_chosen: value == chosen,
            value,
            label,
        };
        Self {
            path: path(of.app.id, customer.user_id),
            app: of.app.name.clone(),
            id: Code::short(customer.user_id),
            own: customer.external_id.as_ref().map(Code::short),
            device_name: customer.analytics_device_id.as_ref().map(Code::short),
            stores: customer.app_user_ids.iter().map(Code::short).collect(),
            revision: detail.user_revision,
            warnings: {
                let all = detail.warnings.iter();
                all.map(|one| Warning::new(visit, one)).collect()
            },
            environments: environments(frame, visit, of, is_gone),
            devices: detail
                .devices
                .iter()
                .map(|one| (Code::short(one.id), one.platform.name.clone()))
                .collect(),
            more_purchases: read
                .purchases
                .next_cursor
                .as_ref()
                .map(|_| MorePurchases::of(customer)),
            purchases: detail
                .standings
                .iter()
                .map(|one| purchase(visit, read, one))
                .collect(),
            payments: table(visit, &detail.payments),
            more_payments: read
                .has_more_payments
                .then(|| all_of(customer.user_id, visit)),
            past: None,
            today: visit
                .now
                .to_string()
                .split_once('T')
                .map_or_else(String::new, |(day, _)| day.to_owned()),
            more_events: of.events.next_cursor.as_ref().map(|_| {
                let user = customer.user_id.to_string();
                visit.to(&with_query("/ui/events", &[("user_id", &user)]))
            }),
            events: of
                .events
                .items
                .iter()
                .map(|one| event(visit, one))
                .collect(),
            transfers,
            destinations: {
                let all = read.destinations.iter();
                all.map(|one| choice(one.id.to_string(), one.name.clone(), &destination))
                    .collect()
            },
            types: {
                let all = types().into_iter().filter(|name| !is_for_operators(name));
                all.map(|name| choice(name.to_owned(), name.to_owned(), &event_type))
                    .collect()
            },
            why: explained.map(|explained| why(visit, explained)),
            actions: Vec::new(),
            erasing: Erasing::of(of),
            is_admin: frame.may(Role::Admin),
            refused: Refused::default(),
            frame,
        }
    }

    /// Returns the transfer that moved the purchases to another customer.
    fn gone(&self) -> Option<&TransferItem> {
        transfers::gone(&self.transfers)
            .filter(|one| self.purchases.is_empty() || !one.products.is_empty())
    }

    /// Adds the customer's state on a day.
    pub fn seen(self, past: Option<PastDay>) -> Self {
        Self { past, ..self }
    }

    /// Adds the forms, and the errors in one of them.
    #[must_use]
    pub fn with(self, visit: &Visit, of: &CustomerRecord, mistakes: &Mistakes) -> Self {
        if !self.frame.may(Role::Support) {
            return self;
        }
        let customer = &of.identified();
        let (app, purchases) = (of.app.id, &of.read.purchases.items);
        let named = forms::name(app, customer, purchases, mistakes);
        let moved = match purchases.is_empty() {
            true => forms::bring(app, customer, mistakes),
            false => forms::move_to(app, customer, purchases, mistakes),
        };
        let mut transfers = self.transfers;
        for (item, one) in transfers.iter_mut().zip(&of.read.detail.transfers) {
            let (user, names) = (customer.user_id, item.names());
            item.undo = forms::undo(visit, user, &one.transfer, &names, mistakes);
        }
        let mut refused = mistakes.refused.clone();
        refused.detail = refused.detail.map(|detail| on_page(&detail));
        Self {
            transfers,
            actions: named.into_iter().chain(moved).collect(),
            refused,
            ..self
        }
    }
}

/// Replaces the command in a text of the API by the form of this page that does the same.
fn on_page(detail: &str) -> String {
    detail.replace(
        "`settle customer move`",
        "\u{201c}Move purchases\u{201d} on this page",
    )
}

/// Returns the event type that is preselected: that of the latest event about the customer that the selected
/// destination (without one, the first) did not receive, or of the latest event if it received all.
fn newest_type<'a>(of: &'a CustomerRecord, chosen: &str) -> &'a str {
    let all = &of.read.destinations;
    let destination = all
        .iter()
        .find(|one| one.id.to_string() == chosen)
        .or(all.first());
    let is_missing = |name: &&str| {
        let is_got = |one: &DeliveryView| {
            let is_its =
                destination.is_some_and(|destination| one.destination_id == destination.id);
            is_its && one.event_type == *name && one.status == DeliveryStatus::Delivered
        };
        !of.read.deliveries.iter().any(is_got)
    };
    let types = || {
        of.events
            .items
            .iter()
            .map(|one| one.event_type.as_str())
            .filter(|name| !is_for_operators(name))
    };
    types()
        .find(is_missing)
        .or_else(|| types().next())
        .unwrap_or("user.subscription.purchased")
}

pub struct MorePurchases {
    /// The command that lists all purchases, if the customer has an id of the app or of a store.
    command: Option<String>,
}

impl MorePurchases {
    fn of(customer: &Customer) -> Self {
        let own = customer
            .external_id
            .as_ref()
            .map(|id| ("--external-id", id));
        let of_store = || customer.app_user_ids.first().map(|id| ("--app-user", id));
        let command = own
            .or_else(of_store)
            .map(|(name, id)| format!("settle purchase list {name}={}", quoted(id)));
        Self { command }
    }
}

fn purchase(visit: &Visit, read: &ReadCustomer, one: &PurchaseStanding) -> Purchase {
    let PurchaseStanding {
        collapse_key,
        standing,
    } = one;
    let stored = read
        .purchases
        .items
        .iter()
        .find(|known| known.collapse_key == *collapse_key);
    let counted = read
        .detail
        .purchases
        .iter()
        .find(|known| known.collapse_key == *collapse_key);
    let is_test =
        counted.is_some_and(|counted| counted.environment == domain::Environment::Sandbox);
    let state = stored.map(state).into_iter();
    let refunded = standing
        .refund_for_people()
        .map(|refund| Badge::new(Tone::Warn, refund));
    let test = is_test.then(|| Badge::new(Tone::Idle, "test purchase"));
    let reached = |one: &Reached| (one.destination.clone(), Sentence::new(&one.summary));
    Purchase {
        path: purchase_path(visit, *collapse_key),
        product: standing.product.clone(),
        badges: state.chain(refunded).chain(test).collect(),
        id: stored.map(|stored| Code::short(&stored.receipt_id)),
        summary: Sentence::new(&standing.summary),
        reached: standing.destinations.iter().map(reached).collect(),
    }
}

fn state(stored: &PurchaseView) -> Badge {
    match stored.state == State::Active.as_str() && is_bought_once(stored) {
        true => Badge::new(Tone::Good, "bought"),
        false => purchase_state(&stored.state),
    }
}

fn event(visit: &Visit, one: &EventView) -> Event {
    Event {
        path: visit.to(&format!(
            "/ui/purchases/{}?mark={}",
            one.collapse_key, one.id
        )),
        name: one.event_type.clone(),
        at: Moment::ago(one.created_at),
    }
}

fn why(visit: &Visit, explained: ExplainedCustomer) -> Why {
    let event_type = &explained.event_type;
    let item = |one: ExplainedItem| {
        let key = one.collapse_key;
        let (path, title) = match one.event_id.zip(one.recorded_at) {
            Some((id, at)) => (
                visit.to(&format!("/ui/purchases/{key}?mark={id}")),
                format!("`{event_type}` at {at}"),
            ),
            None => (purchase_path(visit, key), "its purchase".to_owned()),
        };
        Because {
            path,
            title: Sentence::new(&capital(&title)),
            sentences: one
                .sentences
                .iter()
                .map(|text| Sentence::new(&capital(text)))
                .collect(),
        }
    };
    Why {
        items: explained.items.into_iter().map(item).collect(),
        destination: explained.destination,
        event_type: explained.event_type.clone(),
        is_recorded: explained.is_recorded,
    }
}
