//! Prints the response of a call. `--json` always prints it unchanged.

use super::exchange::Exchange;
use super::verb::{Hook, Verb};
use crate::client::Client;
use crate::names::{self, DESTINATION, PLATFORM};
use crate::table::{self, Column};
use std::process::ExitCode;

impl Verb {
    /// Prints a response.
    pub async fn print(
        &'static self,
        client: &Client,
        exchange: Exchange,
    ) -> anyhow::Result<ExitCode> {
        let fails = self
            .hooks
            .iter()
            .any(|hook| matches!(hook, Hook::Fails(fails) if fails(&exchange.answer)));
        let code = self.print_answer(client, exchange).await?;
        Ok(if fails { ExitCode::FAILURE } else { code })
    }

    async fn print_answer(
        &'static self,
        client: &Client,
        mut exchange: Exchange,
    ) -> anyhow::Result<ExitCode> {
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
                    return Ok(table::answer_line(
                        client,
                        &exchange.answer,
                        &sentence(&exchange),
                    ));
                }
                Hook::WhyEmpty(why_empty) if self.columns.is_empty() => {
                    if let Some(why) = why_empty(client, &exchange).await? {
                        exchange.answer["why_empty"] = why.into();
                    }
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
            Some(sentence) => {
                table::answer_line(client, &exchange.answer, &exchange.filled(sentence))
            }
            None => table::answer(client, &exchange.answer),
        })
    }

    async fn print_list(
        &'static self,
        client: &Client,
        mut exchange: Exchange,
    ) -> anyhow::Result<ExitCode> {
        let mut columns: Vec<Column> = self.columns.iter().map(|column| of_text(column)).collect();
        if table::items(&exchange.answer)
            .iter()
            .any(|one| one.get(names::APP).is_some())
        {
            columns.insert(0, (names::APP, names::APP));
        }
        for named in [PLATFORM, DESTINATION]
            .into_iter()
            .filter(|named| named.is_in(&columns))
        {
            names::add(client, &mut exchange.answer, named).await;
        }
        let no_match = self.no_match.as_ref().filter(|_| exchange.is_filtered);
        let mut nothing = no_match
            .or(self.nothing.as_ref())
            .cloned()
            .unwrap_or_default();
        for hook in self
            .hooks
            .iter()
            .filter(|_| table::items(&exchange.answer).is_empty())
        {
            if let Hook::WhyEmpty(why_empty) = hook {
                nothing = why_empty(client, &exchange).await?.unwrap_or(nothing);
            }
        }
        if table::items(&exchange.answer).is_empty() && !client.json {
            let unknown_customer = names::unknown_customer(client, &exchange.typed)
                .await
                .unwrap_or_default();
            nothing = unknown_customer.map_or(nothing, |text| {
                text.replacen("no customer", "No customer", 1)
            });
        }
        Ok(table::answer_list(
            client,
            &exchange.answer,
            &columns,
            &nothing,
        ))
    }
}

/// Parses a column: `heading = path`, or one text that is both.
fn of_text(text: &str) -> Column<'_> {
    text.split_once(" = ").unwrap_or((text, text))
}
