//! The catalogue of an app: bought products that it lacks, then its products and entitlements. A change takes two
//! forms: the response to the first shows how many purchases it affects, and the second makes it.

mod entered;
mod lost;
mod view;

use super::Screen;
use super::change::Refused;
use super::described::{BASED_ON, hash};
use super::form::Sent;
use super::frame::{Frame, PageAddress, html, shown};
use super::notice::Notice;
use super::text::{counted, escaped};
use super::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::extract::{Id, drafted};
use api::keys::{Acting, Caller};
use api::resources::apps;
use api::resources::catalogue::{self, Catalogue};
use api::route::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AppId;
use serde_json::{Map, Value};
use std::sync::Arc;
use storage::{Condition, NEW_ENTITLEMENT, Page, Role, Run};
use view::{AppsPage, CataloguePage, Change, ConfirmPage, Contents, FormPage};

/// Maximum number of apps to choose from.
const APPS: i64 = 200;

pub const SCREEN: Screen = Screen {
    name: "Catalogue",
    path: "/ui/catalogue",
    icon: "catalogue",
    key: 'l',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/catalogue", choose)
            .summary("The apps with their catalogues."),
        Route::page(Role::Read, "GET", "/ui/apps/{app_id}/catalogue", show)
            .summary("The catalogue of an app."),
        Route::page(
            Role::Operator,
            "GET",
            "/ui/apps/{app_id}/catalogue/product",
            product_form,
        )
        .summary("The form of a product."),
        Route::page(
            Role::Operator,
            "GET",
            "/ui/apps/{app_id}/catalogue/entitlement",
            entitlement_form,
        )
        .summary("The form of an entitlement."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/apps/{app_id}/catalogue/product",
            product,
        )
        .twin("PUT /v1/apps/{app_id}/products/{sku}")
        .summary("Changes or adds a product."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/apps/{app_id}/catalogue/product-removal",
            product_removal,
        )
        .twin("DELETE /v1/apps/{app_id}/products/{sku}")
        .summary("Deletes a product."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/apps/{app_id}/catalogue/entitlement",
            entitlement,
        )
        .twin("PUT /v1/apps/{app_id}/entitlements/{ref}")
        .summary("Changes or adds an entitlement."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/apps/{app_id}/catalogue/entitlement-removal",
            entitlement_removal,
        )
        .twin("DELETE /v1/apps/{app_id}/entitlements/{ref}")
        .summary("Deletes an entitlement."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/apps/{app_id}/catalogue/whole",
            whole,
        )
        .twin("PUT /v1/apps/{app_id}/catalogue")
        .summary("Replaces the catalogue."),
    ]
}

/// Returns the path of a product's form, in which an entitlement can be added too.
pub fn product_path(app: AppId, sku: &str) -> String {
    format!("/ui/apps/{app}/catalogue/product?sku={}", escaped(sku))
}

/// `GET /ui/catalogue`: redirects to the catalogue of the only app, or offers a choice of apps.
async fn choose(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
) -> Result<Response, Error> {
    let page = Page {
        cursor: None,
        limit: APPS,
    };
    let apps = apps::reached(&edge, None, page).await?.items;
    let one = caller.app(&edge, visit.app).await?.or(if apps.len() == 1 {
        Some(apps[0].id)
    } else {
        None
    });
    if let Some(app) = one {
        return Ok(Redirect::to(&visit.to(&format!("/ui/apps/{app}/catalogue"))).into_response());
    }
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Catalogue".to_owned(),
        api: "/v1/apps".to_owned(),
        command: "settle app list".to_owned(),
        ..PageAddress::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let data: Vec<_> = apps.iter().map(|app| (app.id, app.name.clone())).collect();
    shown(&visit, &AppsPage::new(&frame, apps), &data)
}

/// `GET /ui/apps/{app_id}/catalogue`
async fn show(
    State(edge): State<Shared>,
    visit: Visit,
    Id(app): Id<AppId>,
) -> Result<Response, Error> {
    page(&edge, &visit, app, Change::default()).await
}

async fn page(edge: &Edge, visit: &Visit, app: AppId, change: Change) -> Result<Response, Error> {
    let app = apps::one(edge, app).await?;
    let catalogue = catalogue::stored(edge, app.id).await?;
    let (unmapped, has_more) = catalogue::bought_unlisted(edge, app.id).await?;
    let place = PageAddress {
        is_answer: change.is_refused(),
        ..place(app.id, "Catalogue")
    };
    let settled = visit.query("settled").and_then(|text| text.parse().ok());
    let settled = settled.map(|number| counted(number, "purchase"));
    let settled = settled
        .map(|text| Notice::good(format!("Catalogue changed. {text} will be settled again.")));
    let frame = Frame::of(edge, visit, place).await?.announcing(settled);
    let based_on = based_on(&catalogue, None, "");
    let of = Contents {
        app: &app,
        catalogue: &catalogue,
        unmapped: &unmapped,
        has_more,
    };
    let page = CataloguePage::new(&frame, visit, of, change, based_on);
    shown(visit, &page, &Catalogue::from(catalogue.clone()))
}

fn place(app: AppId, title: &str) -> PageAddress {
    PageAddress {
        screen: SCREEN.path,
        title: title.to_owned(),
        api: format!("/v1/apps/{app}/catalogue"),
        command: format!("settle product export --app {app}"),
        ..PageAddress::default()
    }
}

/// `GET /ui/apps/{app_id}/catalogue/product`: the form of a new product, or of the one in `?sku=`.
async fn product_form(
    State(edge): State<Shared>,
    visit: Visit,
    Id(app): Id<AppId>,
) -> Result<Response, Error> {
    let catalogue = catalogue::of_app(&edge, app).await?;
    let change = stored(
        &catalogue,
        CatalogueKind::Product,
        &visit
            .query(CatalogueKind::Product.field())
            .unwrap_or_default(),
    );
    form_page(&edge, &visit, app, CatalogueKind::Product, change).await
}

/// `GET /ui/apps/{app_id}/catalogue/entitlement`: the form of a new entitlement, or of the one in `?ref=`.
async fn entitlement_form(
    State(edge): State<Shared>,
    visit: Visit,
    Id(app): Id<AppId>,
) -> Result<Response, Error> {
    let catalogue = catalogue::of_app(&edge, app).await?;
    let change = stored(
        &catalogue,
        CatalogueKind::Entitlement,
        &visit
            .query(CatalogueKind::Entitlement.field())
            .unwrap_or_default(),
    );
    form_page(&edge, &visit, app, CatalogueKind::Entitlement, change).await
}

/// Returns the form of a product or an entitlement, filled with its stored values.
fn stored(catalogue: &storage::Catalogue, kind: CatalogueKind, id: &str) -> Change {
    let (mut fields, is_new) = match kind {
        CatalogueKind::Product => (
            entered::of_product(id, catalogue.products.get(id)),
            !catalogue.products.contains_key(id),
        ),
        CatalogueKind::Entitlement => (
            entered::of_entitlement(id, catalogue.entitlements.get(id)),
            !catalogue.entitlements.contains_key(id),
        ),
    };
    fields.push((BASED_ON.to_owned(), based_on(catalogue, Some(kind), id)));
    Change {
        fields,
        is_new,
        ..Change::default()
    }
}

/// Returns the hash of the state on which the form of a product, an entitlement or the whole catalogue is based; empty
/// if it does not exist.
fn based_on(catalogue: &storage::Catalogue, kind: Option<CatalogueKind>, id: &str) -> String {
    let value = match kind {
        Some(CatalogueKind::Product) => catalogue
            .products
            .get(id)
            .map(|product| serde_json::json!(product)),
        Some(CatalogueKind::Entitlement) => catalogue
            .entitlements
            .get(id)
            .map(|named| serde_json::json!(named)),
        None => Some(serde_json::json!(Catalogue::from(catalogue.clone()))),
    };
    value.as_ref().map(hash).unwrap_or_default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogueKind {
    Product,
    Entitlement,
}

impl CatalogueKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Entitlement => "entitlement",
        }
    }

    pub const fn field(self) -> &'static str {
        match self {
            Self::Product => "sku",
            Self::Entitlement => "ref",
        }
    }
}

async fn form_page(
    edge: &Edge,
    visit: &Visit,
    app: AppId,
    kind: CatalogueKind,
    change: Change,
) -> Result<Response, Error> {
    let catalogue = catalogue::stored(edge, app).await?;
    let title = format!(
        "{} {}",
        if change.is_new { "New" } else { "Change" },
        kind.name()
    );
    let frame = Frame::of(
        edge,
        visit,
        PageAddress {
            is_answer: change.is_refused(),
            ..place(app, &title)
        },
    )
    .await?;
    html(&FormPage::new(&frame, visit, app, kind, &catalogue, change))
}

/// The parts of a request that each change needs.
type Parts = (Visit, Sent);

/// A change that is counted or, if the count was confirmed, made.
struct ChangeForm {
    edge: Acting,
    visit: Visit,
    sent: Sent,
    app: AppId,
    kind: Option<CatalogueKind>,
    is_removal: bool,
}

impl ChangeForm {
    fn new(edge: Acting, (visit, sent): Parts, app: AppId, kind: Option<CatalogueKind>) -> Self {
        let is_removal = visit.uri.path().ends_with("-removal");
        Self {
            edge,
            visit,
            sent,
            app,
            kind,
            is_removal,
        }
    }

    /// Returns whether the visitor confirmed the count.
    fn is_confirmed(&self) -> bool {
        self.sent.get("confirmed") == Some("yes")
    }

    /// Returns the condition that the changed resource is still as the form showed it.
    fn condition(&self) -> Condition {
        let kind = self.kind;
        let id = kind
            .and_then(|kind| self.sent.get(kind.field()))
            .unwrap_or_default()
            .to_owned();
        let shown = self.sent.get(BASED_ON).unwrap_or_default().to_owned();
        Arc::new(move |catalogue: &storage::Catalogue| {
            if shown == based_on(catalogue, kind, &id) {
                return Ok(());
            }
            let detail = match kind {
                Some(_) if shown.is_empty() => {
                    "it already exists; open it in the catalogue to change it"
                }
                _ => "someone else changed it after you opened this form",
            };
            Err(detail.to_owned())
        })
    }

    /// Returns the id in the form. An empty id is an error of its field.
    fn id(&self, kind: CatalogueKind) -> Result<String, Error> {
        self.sent
            .reason()
            .map_err(|wrong| Error::Invalid(vec![wrong]))?;
        let id = self
            .sent
            .get(kind.field())
            .filter(|id| id.chars().count() <= 200);
        id.map(str::to_owned)
            .ok_or_else(|| Error::invalid(kind.field(), "text of at most 200 characters"))
    }

    /// Responds to a change: with a redirect to the catalogue if it was made, with the count and the confirming form if
    /// it was counted, and with the errors if it was refused.
    async fn answer(self, change: Result<storage::Change, Error>) -> Result<Response, Error> {
        let change = match change {
            Ok(change) => change,
            Err(error) => return self.refused(error).await,
        };
        let Self {
            edge,
            visit,
            sent,
            app,
            ..
        } = &self;
        let before = catalogue::stored(edge, *app).await?;
        let run = if self.is_confirmed() {
            Run::Real
        } else {
            Run::Dry
        };
        let purchases =
            match catalogue::change_if(edge, *app, change.clone(), run, self.condition()).await {
                Ok(concerned) => concerned.purchases,
                Err(error) => return self.refused(error).await,
            };
        if self.is_confirmed() {
            let path = format!("/ui/apps/{app}/catalogue?settled={purchases}");
            return Ok(Redirect::to(&visit.to(&path)).into_response());
        }
        let frame = Frame::of(
            edge,
            visit,
            PageAddress {
                is_answer: true,
                ..place(*app, "Confirm")
            },
        )
        .await?;
        let changes = lost::sentences(&before, &change, purchases);
        html(&ConfirmPage::new(&frame, visit, *app, sent, purchases, &change).with(changes))
    }

    /// Shows the form again, with the values that were entered and the reason why nothing was changed.
    async fn refused(self, error: Error) -> Result<Response, Error> {
        let Self {
            edge,
            visit,
            sent,
            app,
            kind,
            is_removal,
        } = &self;
        let Refused {
            status,
            fields,
            detail,
        } = Refused::of(error)?;
        let entered = match kind {
            // The form of a removal contains only the reason, so the other fields show the stored values.
            Some(kind) if *is_removal => {
                let id = sent.get(kind.field()).unwrap_or_default();
                stored(&catalogue::stored(edge, *app).await?, *kind, id)
            }
            _ => Change {
                fields: sent.pairs(),
                is_new: sent.get(BASED_ON).is_none(),
                ..Change::default()
            },
        };
        let removal = is_removal.then(|| sent.get("reason").unwrap_or_default().to_owned());
        let change = Change {
            wrong: entered::named(fields),
            detail,
            removal,
            ..entered
        };
        let page = match kind {
            Some(kind) => form_page(edge, visit, *app, *kind, change).await?,
            None => page(edge, visit, *app, change).await?,
        };
        Ok((status, page).into_response())
    }
}

async fn product(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = ChangeForm::new(edge, parts, app, Some(CatalogueKind::Product));
    let change = match (
        wanted.id(CatalogueKind::Product),
        drafted(entered::product(&wanted.sent)),
    ) {
        (Ok(sku), Ok(draft)) => catalogue::product(sku, draft),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    let change = match wanted.sent.get(NEW_ENTITLEMENT) {
        Some(ref_id) => {
            let name = wanted.sent.get(catalogue::NEW_NAME);
            change.and_then(|change| catalogue::with_entitlement(change, ref_id, name))
        }
        None => change,
    };
    wanted.answer(change).await
}

async fn product_removal(
    edge: Acting,
    parts: Parts,
    Id(app): Id<AppId>,
) -> Result<Response, Error> {
    let wanted = ChangeForm::new(edge, parts, app, Some(CatalogueKind::Product));
    let change = wanted
        .id(CatalogueKind::Product)
        .map(storage::Change::DeleteProduct);
    wanted.answer(change).await
}

async fn entitlement(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = ChangeForm::new(edge, parts, app, Some(CatalogueKind::Entitlement));
    let body = drafted(entered::entitlement(&wanted.sent)).and_then(api::extract::Draft::finish);
    let change = match (wanted.id(CatalogueKind::Entitlement), body) {
        (Ok(id), Ok(body)) => Ok(storage::Change::SetEntitlement(id, body)),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    wanted.answer(change).await
}

async fn entitlement_removal(
    edge: Acting,
    parts: Parts,
    Id(app): Id<AppId>,
) -> Result<Response, Error> {
    let wanted = ChangeForm::new(edge, parts, app, Some(CatalogueKind::Entitlement));
    let change = wanted
        .id(CatalogueKind::Entitlement)
        .map(storage::Change::DeleteEntitlement);
    wanted.answer(change).await
}

async fn whole(edge: Acting, parts: Parts, Id(app): Id<AppId>) -> Result<Response, Error> {
    let wanted = ChangeForm::new(edge, parts, app, None);
    apps::one(&wanted.edge, app).await?;
    let change = whole_body(&wanted.sent)
        .and_then(drafted)
        .and_then(catalogue::whole);
    wanted.answer(change).await
}

/// Parses the whole catalogue, entered as JSON.
fn whole_body(sent: &Sent) -> Result<Map<String, Value>, Error> {
    sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
    let text = sent.get("catalogue").unwrap_or_default();
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::invalid(
            "catalogue",
            "a JSON object with `entitlements` and `products`",
        )),
        Err(error) => Err(Error::invalid(
            "catalogue",
            format!("a JSON object with `entitlements` and `products` ({error})"),
        )),
    }
}
