//! The documents as a process serves them: with its addresses in `servers`.

use super::Documents;
use crate::answer::Prepared;
use crate::edge::Edge;
use crate::route::{Route, Surface};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::OnceLock;

/// OpenAPI documents of one process.
#[derive(Debug)]
pub struct Served {
    documents: &'static Documents,
    /// Base URL of the routes for stores, devices and receivers.
    public_url: String,
    /// Address of the whole API, unless it is the public address.
    api: Option<SocketAddr>,
    /// Path and lower-case method of each public route.
    public: Vec<(&'static str, String)>,
    whole: OnceLock<Prepared>,
    device: OnceLock<Prepared>,
}

impl Served {
    /// Returns the documents of these routes as this process serves them.
    pub fn new(documents: &'static Documents, routes: &[Route], edge: &Edge) -> Self {
        let public = routes.iter().filter(|route| route.is_on(Surface::Public));
        Self {
            documents,
            public_url: edge.url(""),
            api: edge.pages.address(),
            public: public
                .map(|route| (route.path, route.method.to_lowercase()))
                .collect(),
            whole: OnceLock::new(),
            device: OnceLock::new(),
        }
    }

    /// Returns `/openapi.json`, serialized on first use.
    pub fn whole(&self) -> Prepared {
        self.whole
            .get_or_init(|| Prepared::new(&self.written()))
            .clone()
    }

    /// Returns the whole document with `servers`: the address of the whole API, and for public routes the public URL.
    fn written(&self) -> Value {
        let mut document = (*self.documents.whole).clone();
        let Some(api) = self.api else {
            document["servers"] = self.public();
            return document;
        };
        // Clients cannot call an unspecified address, so the URL is relative to that of the document.
        let url = if api.ip().is_unspecified() {
            "/".to_owned()
        } else {
            format!("http://{api}")
        };
        document["servers"] =
            json!([{ "url": url, "description": "All routes (`admin_listen`)." }]);
        for (path, method) in &self.public {
            let operation = &mut document["paths"][path][method];
            if operation.is_object() {
                operation["servers"] = self.public();
            }
        }
        document
    }

    /// Returns `/openapi/device.json`, serialized on first use.
    pub fn device(&self) -> Prepared {
        let write = || {
            let mut document = (*self.documents.device).clone();
            document["servers"] = self.public();
            Prepared::new(&document)
        };
        self.device.get_or_init(write).clone()
    }

    fn public(&self) -> Value {
        json!([{ "url": self.public_url, "description": "The public address (`public_url`)." }])
    }
}
