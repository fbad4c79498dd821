//! The catalogue of an app: what was bought and is not in it first, then its products and entitlements. Each change is
//! counted before it is made: the first answer says how many purchases it concerns, and the second form makes it.

mod entered;
mod view;

use super::Screen;
use super::described::{BASED_ON, hash};
use super::form::Sent;
use super::frame::{Frame, Place, html, shown};
use super::visit::Visit;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Id, Ids, Query, drafted};
use crate::keys::{Acting, Caller};
use crate::resources::catalogue::{self, Catalogue, Concerned, Sku};
use crate::resources::sales::RunQuery;
use crate::routes::Route;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AppId;
use serde_json::{Map, Value};
use storage::{Page, Role};
use view::{AppsPage, CataloguePage, Change, ConfirmPage, FormPage};

/// Maximum number of apps in the choice.
const APPS: i64 = 200;

/// The screen.
pub const SCREEN: Screen = Screen { name: "Catalogue", path: "/ui/catalogue", icon: "catalogue", key: 'l', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/catalogue", choose).summary("The apps with their catalogues."),
        Route::page(Role::Read, "GET", "/ui/apps/{app_id}/catalogue", show).summary("The catalogue of an app."),
        Route::page(Role::Operator, "GET", "/ui/apps/{app_id}/catalogue/product", product_form)
            .summary("The form of a product."),
        Route::page(Role::Operator, "GET", "/ui/apps/{app_id}/catalogue/entitlement", entitlement_form)
            .summary("The form of an entitlement."),
        Route::page(Role::Operator, "POST", "/ui/apps/{app_id}/catalogue/product", product)
            .twin("PUT /v1/apps/{app_id}/products/{sku}")
            .summary("Changes or adds a product."),
        Route::page(Role::Operator, "POST", "/ui/apps/{app_id}/catalogue/product-removal", product_removal)
            .twin("DELETE /v1/apps/{app_id}/products/{sku}")
            .summary("Deletes a product."),
        Route::page(Role::Operator, "POST", "/ui/apps/{app_id}/catalogue/entitlement", entitlement)
            .twin("PUT /v1/apps/{app_id}/entitlements/{ref}")
            .summary("Changes or adds an entitlement."),
        Route::page(Role::Operator, "POST", "/ui/apps/{app_id}/catalogue/entitlement-removal", entitlement_removal)
            .twin("DELETE /v1/apps/{app_id}/entitlements/{ref}")
            .summary("Deletes an entitlement."),
        Route::page(Role::Operator, "POST", "/ui/apps/{app_id}/catalogue/whole", whole)
            .twin("PUT /v1/apps/{app_id}/catalogue")
            .summary("Replaces the catalogue."),
    ]
}

/// `GET /ui/catalogue`: the only app at once, or a choice.
async fn choose(State(edge): State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let apps = edge.store.apps(Page { cursor: None, limit: APPS }).await?.items;
    let one = caller.app(&edge, visit.app).await?.or(if apps.len() == 1 { Some(apps[0].id) } else { None });
    if let Some(app) = one {
        return Ok(Redirect::to(&visit.to(&format!("/ui/apps/{app}/catalogue"))).into_response());
    }
    let place = Place {
        screen: SCREEN.path,
        title: "Catalogue".to_owned(),
        api: "/v1/apps".to_owned(),
        command: "settle app list".to_owned(),
        ..Place::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let data: Vec<_> = apps.iter().map(|app| (app.id, app.name.clone())).collect();
    shown(&visit, &AppsPage::new(&frame, apps), &data)
}

/// `GET /ui/apps/{app_id}/catalogue`
async fn show(State(edge): State<Shared>, visit: Visit, Id(app): Id<AppId>) -> Result<Response, Error> {
    page(&edge, &visit, (app, Change::default())).await
}

async fn page(edge: &Edge, visit: &Visit, (app, change): (AppId, Change)) -> Result<Response, Error> {
    let app = edge.store.app(app).await?;
    let catalogue = edge.store.catalogue(app.id).await?;
    let unmapped = edge.store.unmapped(app.id).await?;
    let place = Place { is_answer: !change.wrong.is_empty(), ..place(app.id, "Catalogue") };
    let frame = Frame::of(edge, visit, place).await?;
    let based_on = based_on(&catalogue, (None, ""));
    let page = CataloguePage::new((&frame, visit), (&app, &catalogue, &unmapped), (change, based_on));
    shown(visit, &page, &Catalogue::from(catalogue.clone()))
}

fn place(app: AppId, title: &str) -> Place {
    Place {
        screen: SCREEN.path,
        title: title.to_owned(),
        api: format!("/v1/apps/{app}/catalogue"),
        command: format!("settle product export --app {app} catalogue.json"),
        ..Place::default()
    }
}

/// `GET /ui/apps/{app_id}/catalogue/product`, with `?sku=` the form of that product.
async fn product_form(State(edge): State<Shared>, visit: Visit, Id(app): Id<AppId>) -> Result<Response, Error> {
    let catalogue = edge.store.catalogue(edge.store.app(app).await?.id).await?;
    let sku = visit.query(Kind::Product.field()).unwrap_or_default();
    let product = catalogue.products.get(&sku);
    let mut fields = entered::of_product(&sku, product);
    fields.push((BASED_ON.to_owned(), based_on(&catalogue, (Some(Kind::Product), &sku))));
    let change = Change { fields, is_new: product.is_none(), ..Change::default() };
    form_page(&edge, &visit, (app, Kind::Product, change)).await
}

/// `GET /ui/apps/{app_id}/catalogue/entitlement`, with `?ref=` the form of that entitlement.
async fn entitlement_form(State(edge): State<Shared>, visit: Visit, Id(app): Id<AppId>) -> Result<Response, Error> {
    let catalogue = edge.store.catalogue(edge.store.app(app).await?.id).await?;
    let id = visit.query(Kind::Entitlement.field()).unwrap_or_default();
    let named = catalogue.entitlements.get(&id);
    let mut fields = entered::of_entitlement(&id, named);
    fields.push((BASED_ON.to_owned(), based_on(&catalogue, (Some(Kind::Entitlement), &id))));
    let change = Change { fields, is_new: named.is_none(), ..Change::default() };
    form_page(&edge, &visit, (app, Kind::Entitlement, change)).await
}

/// What a form of a product, an entitlement or all of it is based on, as a hash; empty for what does not exist.
fn based_on(catalogue: &storage::Catalogue, (kind, id): (Option<Kind>, &str)) -> String {
    let value = match kind {
        Some(Kind::Product) => catalogue.products.get(id).map(|product| serde_json::json!(product)),
        Some(Kind::Entitlement) => catalogue.entitlements.get(id).map(|named| serde_json::json!(named)),
        None => Some(serde_json::json!(Catalogue::from(catalogue.clone()))),
    };
    value.as_ref().map(hash).unwrap_or_default()
}

/// What a form is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A product.
    Product,
    /// An entitlement.
    Entitlement,
}

impl Kind {
    /// Its name, also in paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Entitlement => "entitlement",
        }
    }

    /// The field with its id.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Product => "sku",
            Self::Entitlement => "ref",
        }
    }
}

async fn form_page(edge: &Edge, visit: &Visit, (app, kind, change): (AppId, Kind, Change)) -> Result<Response, Error> {
    let catalogue = edge.store.catalogue(app).await?;
    let title = format!("{} {}", if change.is_new { "New" } else { "Change" }, kind.name());
    let frame = Frame::of(edge, visit, Place { is_answer: !change.wrong.is_empty(), ..place(app, &title) }).await?;
    html(&FormPage::new((&frame, visit), (app, kind, &catalogue), change))
}

/// The parts of a request that each change takes.
type Parts = (Visit, Sent);

/// The result of a change, made or counted.
type Outcome = Result<Json<Concerned>, Error>;

/// Counts a change, or makes it when the person confirmed the count.
struct Wanted {
    edge: Shared,
    visit: Visit,
    sent: Sent,
    app: AppId,
    kind: Option<Kind>,
}

impl Wanted {
    fn new(edge: &Acting, (visit, sent): Parts, (app, kind): (AppId, Option<Kind>)) -> Self {
        Self { edge: Shared::clone(edge), visit, sent, app, kind }
    }

    /// Whether the person saw the count.
    fn is_confirmed(&self) -> bool {
        self.sent.get("confirmed") == Some("yes")
    }

    /// Whether what is changed is still what the form showed.
    async fn unchanged(&self) -> Result<(), Error> {
        let catalogue = self.edge.store.catalogue(self.app).await?;
        let id = self.kind.and_then(|kind| self.sent.get(kind.field())).unwrap_or_default();
        let now = based_on(&catalogue, (self.kind, id));
        if self.sent.get(BASED_ON).unwrap_or_default() == now {
            return Ok(());
        }
        let expected = match self.kind {
            Some(_) if self.sent.get(BASED_ON).is_none() => {
                "another one: it exists already, and can be changed from the catalogue"
            }
            _ => "what was there when this form was opened: somebody else changed it; open it again",
        };
        let field = self.kind.map_or("catalogue", Kind::field);
        Err(Error::invalid(field, expected))
    }

    fn run(&self) -> Query<RunQuery> {
        Query(RunQuery::of(!self.is_confirmed()))
    }

    /// The id in the form; an empty one is an error of its field.
    fn id(&self, kind: Kind) -> Result<Sku, Error> {
        self.sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
        let id = self.sent.get(kind.field()).filter(|id| id.chars().count() <= 200);
        let id = id.ok_or_else(|| Error::invalid(kind.field(), "a text of at most 200 letters"))?;
        Ok(Sku(id.to_owned()))
    }

    /// Back at the catalogue after a change; before it, the count with the form that makes it; or what is wrong.
    async fn answer(self, outcome: Outcome) -> Result<Response, Error> {
        let Self { edge, visit, sent, app, kind } = &self;
        match outcome {
            Ok(Json(concerned)) if self.is_confirmed() => {
                let path = format!("/ui/apps/{app}/catalogue?settled={}", concerned.purchases);
                Ok(Redirect::to(&visit.to(&path)).into_response())
            }
            Ok(Json(concerned)) => {
                let frame = Frame::of(edge, visit, Place { is_answer: true, ..place(*app, "Confirm") }).await?;
                let what = what(visit.uri.path(), kind.map(|kind| sent.get(kind.field()).unwrap_or_default()));
                html(&ConfirmPage::new((&frame, visit), (*app, sent), (concerned.purchases, what)))
            }
            Err(Error::Invalid(wrong)) => {
                let is_new = sent.get(BASED_ON).is_none();
                let change = Change { wrong: entered::named(wrong), fields: sent.pairs(), is_new };
                let page = match kind {
                    Some(kind) => form_page(edge, visit, (*app, *kind, change)).await?,
                    None => page(edge, visit, (*app, change)).await?,
                };
                Ok((StatusCode::BAD_REQUEST, page).into_response())
            }
            Err(error) => Err(error),
        }
    }
}

/// What a change does, for the question before it.
fn what(path: &str, id: Option<&str>) -> (&'static str, String) {
    let verb = match path.rsplit('/').next() {
        Some("product-removal") => "Delete the product",
        Some("entitlement-removal") => "Delete the entitlement",
        Some("product") => "Set the product",
        Some("entitlement") => "Set the entitlement",
        _ => "Replace the whole catalogue",
    };
    (verb, id.unwrap_or_default().to_owned())
}

async fn product(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = Wanted::new(&edge, parts, (app, Some(Kind::Product)));
    let outcome = match (wanted.id(Kind::Product), drafted(entered::product(&wanted.sent))) {
        (Ok(sku), Ok(draft)) => match wanted.unchanged().await {
            Ok(()) => catalogue::set_product(edge, Ids(app, sku), wanted.run(), draft).await,
            Err(error) => Err(error),
        },
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    wanted.answer(outcome).await
}

async fn product_removal(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = Wanted::new(&edge, parts, (app, Some(Kind::Product)));
    let outcome = match wanted.id(Kind::Product) {
        Ok(sku) => catalogue::delete_product(edge, Ids(app, sku), wanted.run()).await,
        Err(error) => Err(error),
    };
    wanted.answer(outcome).await
}

async fn entitlement(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = Wanted::new(&edge, parts, (app, Some(Kind::Entitlement)));
    let body = drafted(entered::entitlement(&wanted.sent)).and_then(crate::extract::Draft::finish);
    let outcome = match (wanted.id(Kind::Entitlement), body) {
        (Ok(id), Ok(body)) => match wanted.unchanged().await {
            Ok(()) => catalogue::set_entitlement(edge, Ids(app, id), wanted.run(), Body(body)).await,
            Err(error) => Err(error),
        },
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    wanted.answer(outcome).await
}

async fn entitlement_removal(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = Wanted::new(&edge, parts, (app, Some(Kind::Entitlement)));
    let outcome = match wanted.id(Kind::Entitlement) {
        Ok(id) => catalogue::delete_entitlement(edge, Ids(app, id), wanted.run()).await,
        Err(error) => Err(error),
    };
    wanted.answer(outcome).await
}

async fn whole(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = Wanted::new(&edge, parts, (app, None));
    let stored = crate::extract::Stored(edge.store.app(app).await?);
    let outcome = match whole_body(&wanted.sent).and_then(drafted) {
        Ok(draft) => match wanted.unchanged().await {
            Ok(()) => catalogue::replace(edge, stored, wanted.run(), draft).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    wanted.answer(outcome).await
}

/// The catalogue as a text of JSON.
fn whole_body(sent: &Sent) -> Result<Map<String, Value>, Error> {
    sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
    let text = sent.get("catalogue").unwrap_or_default();
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::invalid("catalogue", "a JSON object with `entitlements` and `products`")),
        Err(error) => {
            Err(Error::invalid("catalogue", format!("a JSON object with `entitlements` and `products` ({error})")))
        }
    }
}
