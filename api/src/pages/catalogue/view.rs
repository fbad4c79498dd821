//! The views of the catalogue. This module is pure.

use super::CatalogueKind;
use super::entered::PRICES;
use crate::described::BASED_ON;
use crate::form::{Sent, TOKEN};
use crate::frame::Frame;
use crate::text::{counted, escaped};
use crate::visit::Visit;
use api::error::Field;
use api::resources::catalogue::{Catalogue as Listed, NEW_NAME};
use askama::Template;
use domain::AppId;
use storage::{App, Catalogue, NEW_ENTITLEMENT, Role, UnmappedSku};

#[derive(Debug, Default)]
pub struct Change {
    pub fields: Vec<(String, String)>,
    pub wrong: Vec<Field>,
    /// Reason for the refusal, if no single field is wrong.
    pub detail: Option<String>,
    /// The reason that was entered for the removal, if the removal was refused.
    pub removal: Option<String>,
    /// Whether the resource does not exist yet, so that its id is entered too.
    pub is_new: bool,
}

impl Change {
    fn get(&self, name: &str) -> String {
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    }

    /// Returns whether the change was sent and refused.
    pub fn is_refused(&self) -> bool {
        !self.wrong.is_empty() || self.detail.is_some()
    }

    /// Returns the expected value of a field in the form of the change, if the entered one is wrong.
    fn wrong(&self, name: &str) -> Option<String> {
        if self.removal.is_some() {
            None
        } else {
            self.wrong_of(name)
        }
    }

    /// Returns the expected value of the reason for the removal, if the entered one is wrong.
    fn wrong_removal(&self) -> Option<String> {
        self.removal.as_ref().and_then(|_| self.wrong_of("reason"))
    }

    fn wrong_of(&self, name: &str) -> Option<String> {
        let is_of = |one: &&Field| one.field.split(['.', '[']).next() == Some(name);
        self.wrong
            .iter()
            .find(is_of)
            .map(|one| one.expected.clone())
    }
}

/// The choice of apps, if there are several.
#[derive(Template)]
#[template(path = "catalogue/apps.html")]
pub struct AppsPage<'a> {
    frame: &'a Frame,
    apps: Vec<App>,
}

impl<'a> AppsPage<'a> {
    pub fn new(frame: &'a Frame, apps: Vec<App>) -> Self {
        Self { frame, apps }
    }
}

/// A bought SKU that is not in the catalogue.
pub struct Unmapped {
    sku: String,
    purchases: String,
    path: String,
}

pub struct ProductRow {
    sku: String,
    name: String,
    entitlements: Vec<String>,
    prices: Vec<String>,
    path: String,
}

pub struct EntitlementRow {
    id: String,
    name: String,
    description: String,
    products: usize,
    path: String,
}

#[derive(Template)]
#[template(path = "catalogue/page.html")]
pub struct CataloguePage<'a> {
    frame: &'a Frame,
    app: &'a App,
    can_change: bool,
    unmapped: Vec<Unmapped>,
    products: Vec<ProductRow>,
    entitlements: Vec<EntitlementRow>,
    whole: String,
    based_on: String,
    wrong: Vec<Field>,
    detail: Option<String>,
    has_more: bool,
    reason: String,
}

/// The catalogue of an app, and the first of the bought SKUs that are not in it.
pub struct Contents<'a> {
    pub app: &'a App,
    pub catalogue: &'a Catalogue,
    pub unmapped: &'a [UnmappedSku],
    pub has_more: bool,
}

impl<'a> CataloguePage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: Contents<'a>,
        change: Change,
        based_on: String,
    ) -> Self {
        let Contents {
            app,
            catalogue,
            unmapped,
            has_more,
        } = of;
        let path = |kind: CatalogueKind, id: &str| {
            visit.to(&format!(
                "/ui/apps/{}/catalogue/{}?{}={}",
                app.id,
                kind.name(),
                kind.field(),
                escaped(id)
            ))
        };
        let missing = unmapped.iter().map(|one| Unmapped {
            purchases: counted(one.purchases, "purchase"),
            path: path(CatalogueKind::Product, &one.sku),
            sku: one.sku.clone(),
        });
        let products = catalogue.products.iter().map(|(sku, product)| {
            let fields = super::entered::of_product(sku, Some(product));
            let lines = fields
                .iter()
                .find(|(name, _)| name == PRICES)
                .map(|(_, text)| text.as_str());
            ProductRow {
                name: product.name.clone().unwrap_or_default(),
                entitlements: product.entitlements.clone(),
                prices: lines
                    .unwrap_or_default()
                    .lines()
                    .map(str::to_owned)
                    .collect(),
                path: path(CatalogueKind::Product, sku),
                sku: sku.clone(),
            }
        });
        let uses = |id: &String| {
            catalogue
                .products
                .values()
                .filter(|one| one.entitlements.contains(id))
                .count()
        };
        let entitlements = catalogue
            .entitlements
            .iter()
            .map(|(id, named)| EntitlementRow {
                name: named.name.clone(),
                description: named.description.clone().unwrap_or_default(),
                products: uses(id),
                path: path(CatalogueKind::Entitlement, id),
                id: id.clone(),
            });
        let (whole, sent) = (change.get("catalogue"), change.get(BASED_ON));
        Self {
            frame,
            app,
            can_change: frame.may(Role::Operator),
            unmapped: missing.collect(),
            products: products.collect(),
            entitlements: entitlements.collect(),
            whole: if whole.is_empty() {
                text(catalogue)
            } else {
                whole
            },
            reason: change.get("reason"),
            // Text that was entered remains based on the state at which its form was opened.
            based_on: if sent.is_empty() { based_on } else { sent },
            wrong: change.wrong,
            detail: change.detail,
            has_more,
        }
    }
}

/// Returns the catalogue as JSON, which can be edited and sent as a replacement.
fn text(catalogue: &Catalogue) -> String {
    serde_json::to_string_pretty(&Listed::from(catalogue.clone())).unwrap_or_default()
}

pub struct Choice {
    id: String,
    name: String,
    is_on: bool,
}

/// The form of a product or an entitlement.
#[derive(Template)]
#[template(path = "catalogue/form.html")]
pub struct FormPage<'a> {
    frame: &'a Frame,
    app: AppId,
    kind: CatalogueKind,
    back: String,
    own: String,
    id: String,
    name: String,
    description: String,
    prices: String,
    new_entitlement: String,
    new_entitlement_name: String,
    reason: String,
    based_on: String,
    choices: Vec<Choice>,
    change: Change,
}

impl<'a> FormPage<'a> {
    /// Returns the form, filled with values.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        app: AppId,
        kind: CatalogueKind,
        catalogue: &Catalogue,
        change: Change,
    ) -> Self {
        let chosen: Vec<&String> = change
            .fields
            .iter()
            .filter(|(name, _)| name == "entitlements")
            .map(|(_, value)| value)
            .collect();
        let id = change.get(kind.field());
        let own = format!(
            "/ui/apps/{app}/catalogue/{}?{}={}",
            kind.name(),
            kind.field(),
            escaped(&id)
        );
        let choices = catalogue.entitlements.iter().map(|(id, named)| Choice {
            id: id.clone(),
            name: named.name.clone(),
            is_on: chosen.contains(&id),
        });
        Self {
            frame,
            app,
            kind,
            back: visit.to(&format!("/ui/apps/{app}/catalogue")),
            own: visit.to(&own),
            choices: choices.collect(),
            id,
            name: change.get("name"),
            description: change.get("description"),
            prices: change.get(PRICES),
            new_entitlement: change.get(NEW_ENTITLEMENT),
            new_entitlement_name: change.get(NEW_NAME),
            reason: change.get("reason"),
            based_on: change.get(BASED_ON),
            change,
        }
    }

    fn is_product(&self) -> bool {
        self.kind == CatalogueKind::Product
    }
}

/// The count of a change, with the form that confirms it.
#[derive(Template)]
#[template(path = "catalogue/confirm.html")]
pub struct ConfirmPage<'a> {
    frame: &'a Frame,
    back: String,
    path: String,
    verb: &'static str,
    id: String,
    is_final: bool,
    changes: Vec<String>,
    purchases: String,
    fields: Vec<(String, String)>,
}

impl<'a> ConfirmPage<'a> {
    /// Returns the confirmation page for a change that affects this many purchases.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        app: AppId,
        sent: &Sent,
        purchases: i64,
        change: &storage::Change,
    ) -> Self {
        let (verb, id, is_final) = match change {
            storage::Change::DeleteProduct(sku) => ("Delete the product", sku.as_str(), true),
            storage::Change::DeleteEntitlement(id) => ("Delete the entitlement", id.as_str(), true),
            storage::Change::SetProduct(sku, _) | storage::Change::SetProductWith { sku, .. } => {
                ("Set the product", sku.as_str(), false)
            }
            storage::Change::SetEntitlement(id, _) => ("Set the entitlement", id.as_str(), false),
            storage::Change::Replace(_) => ("Replace the whole catalogue", "", true),
        };
        Self {
            frame,
            back: visit.to(&format!("/ui/apps/{app}/catalogue")),
            path: visit.uri.path().to_owned(),
            verb,
            id: id.to_owned(),
            is_final,
            changes: Vec::new(),
            purchases: counted(purchases, "purchase"),
            fields: sent
                .pairs()
                .into_iter()
                .filter(|(name, _)| name != TOKEN && name != "confirmed")
                .collect(),
        }
    }
    /// Adds sentences about the effects on the catalogue.
    #[must_use]
    pub fn with(self, changes: Vec<String>) -> Self {
        Self { changes, ..self }
    }
}
