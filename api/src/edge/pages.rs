//! What the dashboard needs besides the rest of the edge.

use super::hosts::Hosts;
use super::live::Live;
use crate::config::{Config, Setting};
use axum::http::{HeaderMap, header};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The path of the page; all of it is below.
pub const PREFIX: &str = "/ui";

/// Returns whether a request with these headers is that of a browser for a page.
pub fn is_of_browser(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accepted.contains("text/html")
}

/// Finds the address of Temporal's own UI: it may be known only after the start.
type TemporalUi = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The part of the edge that knows the page.
#[derive(Clone)]
pub struct Pages {
    /// How long a sign-in may be unused.
    pub sign_in_idle: Duration,
    /// How long a sign-in may last.
    pub sign_in_lifetime: Duration,
    pub settings: Vec<Setting>,
    /// The names under which it is reached.
    pub hosts: Hosts,
    pub live: Live,
    /// Whether the page is reached by TLS, as far as `ui.url`, else `public_url`, shows.
    pub is_secure: bool,
    temporal_ui: TemporalUi,
    /// Public address, without a slash at the end.
    url: Option<String>,
    address: Option<SocketAddr>,
}

impl Pages {
    pub fn new(config: &Config) -> Self {
        let ui = &config.ui;
        let temporal = ui
            .temporal_url
            .as_ref()
            .map(|url| url.as_str().trim_end_matches('/').to_owned());
        let own = [ui.url.as_ref(), Some(&config.http.public_url)]
            .into_iter()
            .flatten();
        Self {
            sign_in_idle: ui.sign_in_idle,
            sign_in_lifetime: ui.sign_in_lifetime,
            settings: config.shown(),
            hosts: Hosts::new(
                ui.hosts
                    .iter()
                    .map(String::as_str)
                    .chain(own.clone().filter_map(Url::host_str)),
            ),
            live: Live::default(),
            is_secure: own
                .clone()
                .next()
                .is_some_and(|url| url.scheme() == "https"),
            temporal_ui: Arc::new(move || temporal.clone()),
            url: config.dashboard(),
            address: config.http.admin_listen,
        }
    }

    /// Returns the page, whose links to Temporal's own UI begin with what `find` returns: the address with the
    /// namespace.
    #[must_use]
    pub fn with_temporal_ui(
        self,
        find: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            temporal_ui: Arc::new(find),
            ..self
        }
    }

    /// Returns the address of Temporal's own UI with the namespace, such as `http://127.0.0.1:8233/namespaces/default`.
    pub fn temporal_ui(&self) -> Option<String> {
        (self.temporal_ui)()
    }

    /// Returns the public URL of a path of the page; `None` where no setting names its public address.
    pub fn link(&self, path: &str) -> Option<String> {
        self.url.as_ref().map(|url| format!("{url}{path}"))
    }

    /// Returns the address of the dashboard with the whole API, unless it is that of stores and devices.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the line for a browser at the address of stores and devices. An address that others reach is not shown
    /// there.
    pub fn whereabouts(&self) -> String {
        let own = self.address.filter(|address| address.ip().is_loopback());
        let page = own.map_or_else(
            || "the address of `admin_listen`".to_owned(),
            |address| format!("http://{address}/"),
        );
        format!("This address is for stores and devices. The dashboard is at {page}\n")
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}
