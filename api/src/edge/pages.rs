//! State that the dashboard needs in addition to the rest of the edge.

use super::hosts::Hosts;
use super::live::Live;
use crate::config::{Config, Setting};
use axum::http::{HeaderMap, header};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Path prefix of all dashboard pages.
pub const PREFIX: &str = "/ui";

/// Returns whether the headers are those of a browser that requests a page.
pub fn is_of_browser(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accepted.contains("text/html")
}

/// Returns the URL of Temporal's own UI, which may only become known after the start.
type TemporalUi = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// State of the dashboard.
#[derive(Clone)]
pub struct Pages {
    /// How long a sign-in may be unused.
    pub sign_in_idle: Duration,
    /// Maximum duration of a sign-in.
    pub sign_in_lifetime: Duration,
    pub settings: Vec<Setting>,
    /// Host names under which the dashboard may be reached.
    pub hosts: Hosts,
    pub live: Live,
    /// Whether the dashboard is reached over TLS, according to `ui.url` or, without it, `public_url`.
    pub is_secure: bool,
    temporal_ui: TemporalUi,
    /// Public URL, without a trailing slash.
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

    /// Sets the function that returns the URL of Temporal's own UI with the namespace, for links to it.
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

    /// Returns the URL of Temporal's own UI with the namespace, such as `http://127.0.0.1:8233/namespaces/default`.
    pub fn temporal_ui(&self) -> Option<String> {
        (self.temporal_ui)()
    }

    /// Returns the public URL of a dashboard path; `None` if no setting has the dashboard's public URL.
    pub fn link(&self, path: &str) -> Option<String> {
        self.url.as_ref().map(|url| format!("{url}{path}"))
    }

    /// Returns the listen address of the dashboard and the whole API; `None` if stores and devices use the same
    /// address.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the text for a browser that opens the address for stores and devices. It shows the dashboard's address
    /// only if that is a loopback address.
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
