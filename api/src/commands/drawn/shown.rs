//! How the answer of a call is printed.

use crate::commands::client::Client;
use crate::commands::names::{self, DESTINATION, PLATFORM};
use crate::commands::table::{self, Column};
use futures::future::LocalBoxFuture;
use serde_json::{Map, Value};
use std::process::ExitCode;

/// What a person typed, and what the API answered. Secrets that were typed are left out.
pub struct Exchange {
    pub answer: Value,
    /// The arguments by the names of their fields.
    pub typed: Map<String, Value>,
    /// Whether some of them select part of a list.
    pub is_filtered: bool,
}

impl Exchange {
    /// One argument as text; empty when it was not typed.
    pub fn typed(&self, field: &str) -> String {
        self.typed.get(field).map(table::raw).unwrap_or_default()
    }
}

/// Finds the reason of an empty list; `None` when there is no other than its usual sentence.
pub type WhyEmpty = for<'a> fn(&'a Client, &'a Exchange) -> LocalBoxFuture<'a, anyhow::Result<Option<String>>>;

/// What is printed. With `--json` it is always the answer, verbatim.
#[derive(Clone, Copy)]
pub enum Shows {
    /// One line per field.
    Fields,
    /// One line per field, and what to do next; `{id}` is that of the answer.
    Next(&'static str),
    /// A table. A column `platform` or `destination` has the name beside the id.
    List {
        columns: &'static [Column],
        /// The sentence about an empty list.
        nothing: &'static str,
        /// That about an empty list when a filter was typed.
        no_match: &'static str,
        /// Finds the reason of an empty list.
        why_empty: Option<WhyEmpty>,
    },
    /// One sentence.
    Sentence(fn(&Exchange) -> String),
    /// Printed by this function.
    Own(fn(&Exchange)),
}

impl Shows {
    /// Prints an answer.
    pub async fn print(&self, client: &Client, mut exchange: Exchange) -> anyhow::Result<ExitCode> {
        match self {
            Self::Own(print) if !client.json => print(&exchange),
            Self::Fields | Self::Own(_) => return Ok(table::answer(client, &exchange.answer)),
            Self::Next(next) => {
                let next = next.replace("{id}", &table::field(&exchange.answer, "id"));
                return Ok(table::answer_next(client, &exchange.answer, &next));
            }
            Self::Sentence(sentence) => return Ok(table::answer_line(client, &exchange.answer, &sentence(&exchange))),
            Self::List { columns, nothing, no_match, why_empty } => {
                for named in [PLATFORM, DESTINATION].into_iter().filter(|named| named.is_in(columns)) {
                    names::add(client, &mut exchange.answer, named).await;
                }
                let nothing = if exchange.is_filtered { no_match } else { nothing };
                let is_empty = !client.json && table::items(&exchange.answer).is_empty();
                let found = match why_empty.filter(|_| is_empty) {
                    Some(why_empty) => why_empty(client, &exchange).await?,
                    None => None,
                };
                let nothing = found.as_deref().unwrap_or(nothing);
                return Ok(table::answer_list(client, &exchange.answer, columns, nothing));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
