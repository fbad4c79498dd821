//! Reads many orders with few requests, `orders:batchGet`
//! (<https://developers.google.com/android-publisher/api-ref/rest/v3/orders/batchget>). One bad id fails a whole batch,
//! so a failed batch is halved until the bad id is alone.

use super::Settings;
use super::order::Order;
use super::request::{PackageName, Query, is_path_id, request};
use super::response::{ReadError, UNREADABLE, resource};
use super::shown::ShownOrder;
use crate::http::{Reply, Request};
use crate::stores::Bucket;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Maximum number of orders in a batch. Only the first 64 KiB of a body are read, and a batch must fit into them.
/// Google accepts up to 1,000.
const BATCH: usize = 16;

/// Orders that are read in batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBatches {
    /// The batches that are not read yet, the next one last.
    pending: Vec<Vec<String>>,
    pub found: Vec<ShownOrder>,
    /// Ids that the store does not know, or that it refuses as malformed.
    pub unknown: Vec<String>,
    /// Ids of orders whose response cannot be parsed.
    pub unreadable: Vec<String>,
}

#[derive(Deserialize)]
struct Orders {
    #[serde(default)]
    orders: Vec<Order>,
}

impl OrderBatches {
    /// Splits these orders into batches. Duplicates are removed, since Google accepts only distinct ids.
    pub fn new(ids: impl IntoIterator<Item = String>) -> Self {
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let (ids, unknown): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| is_path_id(id));
        let batches = ids.chunks(BATCH).map(<[String]>::to_vec);
        Self {
            pending: batches.rev().collect(),
            found: Vec::new(),
            unknown,
            unreadable: Vec::new(),
        }
    }

    /// Returns the ids of the next batch; `None` after the last one.
    pub fn next(&self) -> Option<&[String]> {
        self.pending.last().map(Vec::as_slice)
    }

    /// Returns whether every order is read.
    pub const fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the request for the next batch; `None` after the last batch, or if the URL cannot be built.
    pub fn request(&self, settings: &Settings, package: &PackageName) -> Option<(Request, Bucket)> {
        request(settings, package, &Query::Orders(self.next()?.to_vec()))
    }

    /// Parses the reply to [`Self::request`].
    ///
    /// # Errors
    /// Fails with [`ReadError::Refused`] or [`ReadError::Retry`]; the batch is then still the next one.
    pub fn read(&mut self, reply: &Reply) -> Result<(), ReadError> {
        match resource::<Orders>(reply) {
            Ok(read) => self.add(read.orders.into_iter().map(Order::shown)),
            Err(ReadError::Malformed | ReadError::Unknown | ReadError::Gone) => {
                self.halve(|batches| &mut batches.unknown);
            }
            Err(ReadError::Retry(retry)) if retry.class == UNREADABLE => {
                self.halve(|batches| &mut batches.unreadable);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Adds the orders of the current batch. Orders that it did not request are ignored.
    fn add(&mut self, orders: impl Iterator<Item = ShownOrder>) {
        let mut missing = self.pending.pop().unwrap_or_default();
        for order in orders {
            if let Some(at) = missing.iter().position(|id| *id == order.id) {
                missing.swap_remove(at);
                self.found.push(order);
            }
        }
        self.unknown.append(&mut missing);
    }

    /// Halves the current batch. The id of a single order is moved to `rest`.
    fn halve(&mut self, rest: fn(&mut Self) -> &mut Vec<String>) {
        let mut first = self.pending.pop().unwrap_or_default();
        if first.len() < 2 {
            rest(self).append(&mut first);
            return;
        }
        let second = first.split_off(first.len().div_ceil(2));
        self.pending.extend([second, first]);
    }
}
