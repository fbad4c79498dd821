//! The views of customers. Pure.

use super::erasing::Erasing;
use super::list::all_of;
use super::moved::{self, Moved};
use super::paid::{table, total, total_before};
use super::past::PastDay;
use super::warnings::{self, Warning};
use super::why::Answers;
use super::{Portrait, forms, path};
use crate::pages::action::Action;
use crate::pages::catalogue::product_path;
use crate::pages::change::{Mistakes, Refused};
use crate::pages::frame::Frame;
use crate::pages::lists::Table;
use crate::pages::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::pages::search::Suggestion;
use crate::pages::text::{capital, purchase_state, with_query};
use crate::pages::visit::Visit;
use crate::resources::access::unlisted_product;
use crate::resources::charges::{charged_after_erasing, next_charge};
use crate::resources::customer_detail::{Access, PurchaseStanding, ReadCustomer};
use crate::resources::customers::Customer;
use crate::resources::standing::{Reached, is_bought_once, renewing_together};
use crate::shell::quoted;
use askama::Template;
use domain::event::{is_for_operators, types};
use domain::user::{ActiveEntitlement, CustomerPurchase, Journey};
use domain::{CollapseKey, State};
use std::collections::BTreeMap;
use storage::{App, DeliveryStatus, DeliveryView, EventView, PurchaseView, Role};

pub struct CustomerListRow {
    path: String,
    app: String,
    id: Code,
    own: Option<Code>,
    stores: Vec<Code>,
}

/// The customers that a search found.
#[derive(Default)]
pub struct FoundCustomers {
    pub all: Vec<(App, Customer)>,
    /// Whether none has the whole id that was searched.
    pub is_beginning: bool,
    /// Probable meaning, if nothing is found.
    pub meant: Option<Suggestion>,
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
    /// The page with what was found, if something was searched.
    pub fn new(frame: &'a Frame, q: String, found: Option<FoundCustomers>) -> Self {
        let row = |(app, one): &(App, Customer)| CustomerListRow {
            path: path(app.id, one.user_id),
            app: app.name.clone(),
            id: Code::short(one.user_id),
            own: one.external_id.as_ref().map(Code::short),
            stores: one.app_user_ids.iter().map(Code::short).collect(),
        };
        let has_searched = found.is_some();
        let FoundCustomers {
            all,
            is_beginning,
            meant,
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

/// Access of the customer in one environment.
pub struct Environment {
    title: &'static str,
    stands: Vec<Badge>,
    entitlements: Vec<Entitlement>,
    /// Sentence that explains why there is no access.
    none: Sentence,
    skus: Vec<Code>,
    /// Bought products that are not in the catalogue.
    missing: Vec<Missing>,
    next_charge: Option<Sentence>,
    /// Total of payments and refunds, and the part before purchases moved away.
    paid: Vec<String>,
}

/// A product that gives no access, because it is not in the catalogue.
pub struct Missing {
    sentence: Sentence,
    /// The form in which it is added, for those who may.
    path: Option<String>,
}

pub struct Entitlement {
    name: String,
    /// Reference id of the entitlement, if it differs from the name by more than case.
    reference: Option<Code>,
    until: Option<Moment>,
}

/// Display name of an environment.
pub const fn title(environment: domain::Environment) -> &'static str {
    match environment {
        domain::Environment::Production => "Access",
        domain::Environment::Sandbox => "Access from test purchases",
    }
}

impl Environment {
    fn of(
        environment: domain::Environment,
        access: &Access,
        read: &ReadCustomer,
        gone: Option<&Moved>,
    ) -> Self {
        let entitlement = |one: &ActiveEntitlement| Entitlement {
            name: one.name.clone(),
            reference: reference(one),
            until: one.expiration.map(Moment::at),
        };
        Self {
            title: title(environment),
            stands: {
                let all = access
                    .customer_journey_state
                    .as_ref()
                    .map(stands)
                    .unwrap_or_default();
                all.into_iter()
                    .map(|text| Badge::new(Tone::Idle, text))
                    .collect()
            },
            entitlements: access.active_entitlements.iter().map(entitlement).collect(),
            none: Sentence::new(match gone {
                Some(_) if read.detail.purchases.is_empty() => "",
                _ => access.no_access.as_deref().unwrap_or_default(),
            }),
            skus: access.active_skus.iter().map(Code::short).collect(),
            missing: Vec::new(),
            next_charge: None,
            paid: Vec::new(),
        }
    }

    fn is_known(&self) -> bool {
        !self.stands.is_empty()
            || !self.entitlements.is_empty()
            || !self.skus.is_empty()
            || !self.missing.is_empty()
    }
}

fn reference(one: &ActiveEntitlement) -> Option<Code> {
    let differs = !one.entitlement_ref_id.eq_ignore_ascii_case(&one.name);
    differs.then(|| Code::short(&one.entitlement_ref_id))
}

/// Products that a customer bought in an environment and that are not in the catalogue, without duplicates.
fn missing(
    frame: &Frame,
    visit: &Visit,
    of: &Portrait,
    environment: domain::Environment,
) -> Vec<Missing> {
    let read = &of.read;
    let own = |view: &&PurchaseView| {
        let is_here = |one: &CustomerPurchase| {
            one.collapse_key == view.collapse_key && one.environment == environment
        };
        read.unlisted.contains(&view.collapse_key) && read.detail.purchases.iter().any(is_here)
    };
    let unlisted = read.purchases.items.iter().filter(own);
    let named: BTreeMap<String, String> = unlisted.filter_map(unlisted_product).collect();
    let missing = |(sku, sentence): (String, String)| Missing {
        sentence: Sentence::new(&sentence),
        path: frame
            .may(Role::Operator)
            .then(|| visit.to(&product_path(of.app.id, &sku))),
    };
    named.into_iter().map(missing).collect()
}

/// The customer's journey in short texts; none if nothing applies.
fn stands(journey: &Journey) -> Vec<&'static str> {
    let all = [
        (journey.in_trial_period, "in a trial"),
        (journey.in_intro_offer_period, "at an introductory price"),
        (journey.in_grace_period, "in the grace period"),
        (journey.in_pause, "paused"),
        (journey.in_account_hold, "on hold"),
        (journey.former_subscriber, "former subscriber"),
    ];
    all.into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, text)| text)
        .collect()
}

/// A purchase in the words of its customer.
pub struct Purchase {
    path: String,
    product: String,
    badges: Vec<Badge>,
    receipt: Option<Code>,
    summary: Sentence,
    /// Each destination, and what it got last.
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

/// Why a destination got an event, or did not.
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
    /// State at the end of a day, if requested.
    past: Option<PastDay>,
    today: String,
    more_purchases: Option<MorePurchases>,
    events: Vec<Event>,
    more_events: Option<String>,
    transfers: Vec<Moved>,
    destinations: Vec<Choice>,
    types: Vec<Choice>,
    why: Option<Why>,
    actions: Vec<Action>,
    erasing: Erasing,
    is_admin: bool,
    refused: Refused,
}

/// The customer's production access and payments, and the sandbox access, if there is any.
fn environments(
    frame: &Frame,
    visit: &Visit,
    of: &Portrait,
    gone: Option<&Moved>,
    paid: Vec<String>,
) -> Vec<Environment> {
    let (read, detail) = (&of.read, &of.read.detail);
    let missing = |environment| missing(frame, visit, of, environment);
    let charge = next_charge(&read.purchases, &detail.purchases, visit.now);
    let production = Environment {
        missing: missing(domain::Environment::Production),
        next_charge: charge.map(|text| Sentence::new(&text)),
        paid,
        ..Environment::of(
            domain::Environment::Production,
            &detail.production,
            read,
            gone,
        )
    };
    let sandbox = Environment {
        missing: missing(domain::Environment::Sandbox),
        ..Environment::of(domain::Environment::Sandbox, &detail.sandbox, read, None)
    };
    [
        Some(production),
        Some(sandbox).filter(Environment::is_known),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl<'a> CustomerPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, of: &Portrait, answers: Option<Answers>) -> Self {
        let read = &of.read;
        let (detail, customer) = (&read.detail, &read.detail.customer);
        let transfers = moved::all(visit, of);
        let gone = moved::gone(&transfers);
        let payments = moved::payments(visit, of);
        let before = moved::payments_before(visit, of);
        let paid = detail.production.paid_usd.as_ref();
        let paid = paid.map(|usd| total(usd, &payments, read.payments.next_cursor.is_none()));
        let paid = paid
            .into_iter()
            .chain(total_before(&before, of.has_all_moved))
            .collect();
        let environments = environments(frame, visit, of, gone, paid);
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
                let all = renewing_together(&read.purchases.items, &detail.purchases);
                let undelivered = warnings::undelivered(visit, of).into_iter();
                undelivered
                    .chain(all.iter().map(|text| Warning::of(text)))
                    .collect()
            },
            environments,
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
            payments: table(visit, payments.into_iter().chain(before).collect()),
            more_payments: read
                .payments
                .next_cursor
                .as_ref()
                .map(|_| all_of(customer.user_id, visit)),
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
            why: answers.map(|answers| why(visit, answers)),
            actions: Vec::new(),
            erasing: Erasing::of(
                of.app.id,
                customer.user_id,
                &read.destinations,
                charged_after_erasing(&read.purchases.items, &detail.purchases, visit.now),
            ),
            is_admin: frame.may(Role::Admin),
            refused: Refused::default(),
            frame,
        }
    }

    /// The transfer after which the purchases belong to another customer.
    fn gone(&self) -> Option<&Moved> {
        moved::gone(&self.transfers)
            .filter(|one| self.purchases.is_empty() || !one.products.is_empty())
    }

    /// Adds the customer's state on a day.
    pub fn seen(self, past: Option<PastDay>) -> Self {
        Self { past, ..self }
    }

    /// Adds the forms, and the errors in one of them.
    #[must_use]
    pub fn with(self, visit: &Visit, of: &Portrait, mistakes: &Mistakes) -> Self {
        if !self.frame.may(Role::Support) {
            return self;
        }
        let (app, customer, purchases) = (
            of.app.id,
            &of.read.detail.customer,
            &of.read.purchases.items,
        );
        let named = forms::name(app, customer, purchases, mistakes);
        let moved = match purchases.is_empty() {
            true => forms::bring(app, customer, mistakes),
            false => forms::move_to(app, customer, purchases, mistakes),
        };
        let mut transfers = self.transfers;
        for (moved, transfer) in transfers.iter_mut().zip(&of.transfers) {
            moved.undo = forms::undo(visit, customer.user_id, transfer, &moved.names(), mistakes);
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

/// A text of the API with the form of this page for the command that does the same.
fn on_page(detail: &str) -> String {
    detail.replace(
        "`settle customer move`",
        "\u{201c}Move purchases\u{201d} on this page",
    )
}

/// The type that is chosen at first: that of the latest event about the customer that the chosen destination, else the
/// first one, did not get; of the latest event if it got all.
fn newest_type<'a>(of: &'a Portrait, chosen: &str) -> &'a str {
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
    /// The command that lists all, if the customer has an id of the app or a store.
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
        receipt: stored.map(|stored| Code::short(&stored.receipt_id)),
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

pub fn purchase_path(visit: &Visit, key: CollapseKey) -> String {
    visit.to(&format!("/ui/purchases/{key}"))
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

fn why(visit: &Visit, answers: Answers) -> Why {
    let items = answers.items.into_iter().map(|one| Because {
        path: visit.to(&one.path),
        title: Sentence::new(&capital(&one.title)),
        sentences: one
            .sentences
            .iter()
            .map(|text| Sentence::new(&capital(text)))
            .collect(),
    });
    Why {
        items: items.collect(),
        destination: answers.destination,
        event_type: answers.event_type,
        is_recorded: answers.is_recorded,
    }
}

#[cfg(test)]
mod tests {
    use super::stands;
    use domain::user::Journey;

    #[test]
    fn a_journey_is_a_few_texts() {
        let nothing = Journey::of(&[]);
        assert!(stands(&nothing).is_empty());
        let journey = Journey {
            in_trial_period: true,
            in_pause: true,
            is_cancelled: true,
            ..nothing
        };
        assert_eq!(
            stands(&journey),
            ["in a trial", "paused"],
            "the purchases show that renewal is off"
        );
    }
}
