//! The data of a customer's page.

use crate::edge::Edge;
use crate::error::Error;
use crate::resources::customer_detail::ReadCustomer;
use crate::resources::{apps, events};
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
}

impl CustomerRecord {
    /// Reads what is stored of a customer.
    ///
    /// # Errors
    /// 404 when the app has no such customer.
    pub async fn of(edge: &Edge, app: AppId, user: UserId) -> Result<Self, Error> {
        let read = ReadCustomer::of(edge, app, user).await?;
        let page = Page {
            cursor: None,
            limit: SHOWN,
        };
        Ok(Self {
            app: apps::one(edge, app).await?,
            events: events::of_user(edge, app, user, page).await?,
            read,
        })
    }

    pub fn user(&self) -> UserId {
        self.read.detail.customer.user_id
    }
}
