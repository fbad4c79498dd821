//! The data of a customer's page.

use api::edge::Edge;
use api::error::Error;
use api::resources::customer_detail::ReadCustomer;
use api::resources::customers::Customer;
use api::resources::{apps, events, platforms};
use domain::{AppId, UserId};
use storage::{App, EventView, Page, Paged};

/// Maximum number of events of a customer that are shown.
const SHOWN: i64 = 50;

/// A customer with the latest events about them.
pub struct CustomerRecord {
    pub app: App,
    pub read: ReadCustomer,
    /// Events, newest first.
    pub events: Paged<EventView>,
    /// Whether the app has platforms of several stores.
    has_several_stores: bool,
}

impl CustomerRecord {
    /// Reads the stored data about a customer.
    ///
    /// # Errors
    /// 404 if the app has no such customer.
    pub async fn of(edge: &Edge, app: AppId, user: UserId) -> Result<Self, Error> {
        let read = ReadCustomer::of(edge, app, user).await?;
        let page = Page {
            cursor: None,
            limit: SHOWN,
        };
        Ok(Self {
            has_several_stores: platforms::has_several_stores(edge, app).await?,
            app: apps::one(edge, app).await?,
            events: events::of_user(edge, app, user, page).await?,
            read,
        })
    }

    /// Returns the customer with the ids by which forms identify them. In an app with several stores, these are ids of
    /// purchases: a store's id alone does not identify a customer there.
    pub fn identified(&self) -> Customer {
        let customer = self.read.detail.customer.clone();
        if !self.has_several_stores || self.read.purchases.items.is_empty() {
            return customer;
        }
        Customer {
            app_user_ids: Vec::new(),
            ..customer
        }
    }

    pub fn user(&self) -> UserId {
        self.read.detail.customer.user_id
    }
}
