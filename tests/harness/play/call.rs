//! The requests that the fake understands, by their paths.

use crate::sns::PACKAGE;
use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

const API: &str = "/androidpublisher/v3/applications/";
/// The beginning of the names of further packages, which have the same purchases.
pub const FURTHER_PACKAGES: &str = "com.example.further";

/// A group of requests, for scripts and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Keys,
    Token,
    Subscriptions,
    OneTime,
    Orders,
    Voided,
    Acknowledge,
    Plans,
}

impl Resource {
    /// All resources that an access token opens.
    pub const API: [Self; 6] = [
        Self::Subscriptions,
        Self::OneTime,
        Self::Orders,
        Self::Voided,
        Self::Acknowledge,
        Self::Plans,
    ];
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `GET /keys`: the public keys of pushes.
    Keys,
    /// `POST /token`
    Token,
    /// `GET purchases/subscriptionsv2/tokens/{token}`
    Subscription(String),
    /// `GET purchases/productsv2/tokens/{token}`
    OneTime(String),
    /// `GET orders/{id}`
    Order(String),
    /// `GET orders:batchGet?orderIds=…`
    Orders(Vec<String>),
    /// `GET purchases/voidedpurchases`
    Voided(Vec<(String, String)>),
    /// `POST purchases/{subscriptions|products}/{product}/tokens/{token}:acknowledge`. A subscription's product may be
    /// empty.
    Acknowledge {
        is_subscription: bool,
        product: String,
        token: String,
    },
    /// `GET subscriptions/{product}`
    Plans(String),
}

impl Call {
    /// Returns the request with this method and URI; `None` if the API has no such request.
    pub fn read(method: &Method, uri: &Uri) -> Option<Self> {
        let is_get = method == Method::GET;
        match uri.path() {
            "/keys" if is_get => return Some(Self::Keys),
            "/token" if method == Method::POST => return Some(Self::Token),
            _ => {}
        }
        let (package, path) = uri.path().strip_prefix(API)?.split_once('/')?;
        if package != PACKAGE && !package.starts_with(FURTHER_PACKAGES) {
            return None;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let query = uri.query().unwrap_or_default();
        if is_get {
            Self::of_get(&parts, query)
        } else if method == Method::POST {
            Self::of_post(&parts)
        } else {
            None
        }
    }

    fn of_get(parts: &[&str], query: &str) -> Option<Self> {
        let parameters = || form_urlencoded::parse(query.as_bytes()).into_owned();
        Some(match parts {
            ["purchases", "subscriptionsv2", "tokens", token] => {
                Self::Subscription(decoded(token)?)
            }
            ["purchases", "productsv2", "tokens", token] => Self::OneTime(decoded(token)?),
            ["purchases", "voidedpurchases"] => Self::Voided(parameters().collect()),
            ["orders:batchGet"] => {
                let ids = parameters().filter(|(name, _)| name == "orderIds");
                Self::Orders(ids.map(|(_, id)| id).collect())
            }
            ["orders", id] => Self::Order(decoded(id)?),
            ["subscriptions", product] => Self::Plans(decoded(product)?),
            _ => return None,
        })
    }

    fn of_post(parts: &[&str]) -> Option<Self> {
        let ["purchases", kind, product, "tokens", last] = parts else {
            return None;
        };
        let token = last.strip_suffix(":acknowledge")?;
        let is_subscription = match *kind {
            "subscriptions" => true,
            "products" => false,
            _ => return None,
        };
        Some(Self::Acknowledge {
            is_subscription,
            product: decoded(product)?,
            token: decoded(token)?,
        })
    }

    /// Returns the group of this request.
    pub const fn resource(&self) -> Resource {
        match self {
            Self::Keys => Resource::Keys,
            Self::Token => Resource::Token,
            Self::Subscription(_) => Resource::Subscriptions,
            Self::OneTime(_) => Resource::OneTime,
            Self::Order(_) | Self::Orders(_) => Resource::Orders,
            Self::Voided(_) => Resource::Voided,
            Self::Acknowledge { .. } => Resource::Acknowledge,
            Self::Plans(_) => Resource::Plans,
        }
    }

    /// Returns the purchase token that the request names.
    pub fn purchase(&self) -> Option<&str> {
        match self {
            Self::Subscription(token) | Self::OneTime(token) => Some(token),
            Self::Acknowledge { token, .. } => Some(token),
            _ => None,
        }
    }
}

fn decoded(segment: &str) -> Option<String> {
    Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
}
