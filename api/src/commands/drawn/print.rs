//! How the answer of a call is printed. With `--json` it is always the answer, verbatim.

use super::verb::{Hook, Verb};
use crate::commands::client::Client;
use crate::commands::names::{self, DESTINATION, PLATFORM};
use crate::commands::table::{self, Column};
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

    /// A text with each `{field}` replaced by what was typed, else by that field of the answer.
    fn filled(&self, text: &str) -> String {
        let mut parts = text.split(['{', '}']).enumerate();
        parts.by_ref().fold(String::new(), |filled, (at, part)| match at % 2 {
            0 => filled + part,
            _ if self.typed.contains_key(part) => filled + &self.typed(part),
            _ => filled + &table::field(&self.answer, part),
        })
    }
}

impl Verb {
    /// Prints an answer.
    pub async fn print(&'static self, client: &Client, exchange: Exchange) -> anyhow::Result<ExitCode> {
        let fails = self.hooks.iter().any(|hook| matches!(hook, Hook::Fails(fails) if fails(&exchange.answer)));
        let code = self.print_answer(client, exchange).await?;
        Ok(if fails { ExitCode::FAILURE } else { code })
    }

    async fn print_answer(&'static self, client: &Client, mut exchange: Exchange) -> anyhow::Result<ExitCode> {
        if client.json {
            return Ok(table::answer(client, &exchange.answer));
        }
        for hook in &self.hooks {
            match hook {
                Hook::Humanize(humanize) => humanize(&mut exchange.answer),
                Hook::Print(print) => {
                    print(client, &exchange);
                    return Ok(ExitCode::SUCCESS);
                }
                Hook::Sentence(sentence) => {
                    return Ok(table::answer_line(client, &exchange.answer, &sentence(&exchange)));
                }
                Hook::Own(..)
                | Hook::Before(_)
                | Hook::Parse(..)
                | Hook::Shown(..)
                | Hook::Order(_)
                | Hook::Fails(_)
                | Hook::WhyEmpty(_) => {}
            }
        }
        if !self.columns.is_empty() {
            return self.print_list(client, exchange).await;
        }
        Ok(match &self.sentence {
            Some(sentence) => table::answer_line(client, &exchange.answer, &exchange.filled(sentence)),
            None => table::answer(client, &exchange.answer),
        })
    }

    async fn print_list(&'static self, client: &Client, mut exchange: Exchange) -> anyhow::Result<ExitCode> {
        let mut columns: Vec<Column> = self.columns.iter().map(|column| of_text(column)).collect();
        if table::items(&exchange.answer).iter().any(|one| one.get(names::APP).is_some()) {
            columns.insert(0, (names::APP, names::APP));
        }
        for named in [PLATFORM, DESTINATION].into_iter().filter(|named| named.is_in(&columns)) {
            names::add(client, &mut exchange.answer, named).await;
        }
        let no_match = self.no_match.as_ref().filter(|_| exchange.is_filtered);
        let mut nothing = no_match.or(self.nothing.as_ref()).cloned().unwrap_or_default();
        for hook in self.hooks.iter().filter(|_| table::items(&exchange.answer).is_empty()) {
            if let Hook::WhyEmpty(why_empty) = hook {
                nothing = why_empty(client, &exchange).await?.unwrap_or(nothing);
            }
        }
        Ok(table::answer_list(client, &exchange.answer, &columns, &nothing))
    }
}

/// A column: `heading = path`, or one text for both.
fn of_text(text: &str) -> Column<'_> {
    text.split_once(" = ").unwrap_or((text, text))
}
