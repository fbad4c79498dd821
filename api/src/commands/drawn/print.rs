//! How the response of a call is printed. `--json` always prints it verbatim.

use super::verb::{Hook, Verb};
use crate::client::Client;
use crate::names::{self, DESTINATION, PLATFORM};
use crate::table::{self, Column};
use api::shell::quoted;
use serde_json::{Map, Value};
use std::process::ExitCode;

/// The typed arguments and the API's response. Typed secrets are left out.
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

    /// A text with each `{field}` replaced by what was typed, else by that field of the answer. Between backticks, where
    /// a command stands, it is one argument of a shell.
    fn filled(&self, text: &str) -> String {
        let (mut filled, mut is_in_command) = (String::new(), false);
        for (at, part) in text.split(['{', '}']).enumerate() {
            if at % 2 == 0 {
                is_in_command ^= part.matches('`').count() % 2 == 1;
                filled.push_str(part);
                continue;
            }
            let value = if self.typed.contains_key(part) {
                self.typed(part)
            } else {
                table::field(&self.answer, part)
            };
            filled.push_str(&if is_in_command { quoted(&value) } else { value });
        }
        filled
    }
}

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

/// A column: `heading = path`, or one text for both.
fn of_text(text: &str) -> Column<'_> {
    text.split_once(" = ").unwrap_or((text, text))
}

#[cfg(test)]
mod tests {
    use super::Exchange;
    use serde_json::{Value, json};

    #[test]
    fn a_suggested_command_has_the_name_as_one_argument() {
        for name in ["hook", "two words", "it's $(here)"] {
            let typed = json!({ "destination_id": name })
                .as_object()
                .cloned()
                .unwrap_or_default();
            let exchange = Exchange {
                answer: Value::Null,
                typed,
                is_filtered: false,
            };
            let sentence = exchange.filled(
                "Of {destination_id}: `settle destination show {destination_id}` shows it.",
            );
            let command = sentence
                .split_once('`')
                .and_then(|(_, rest)| rest.rsplit_once('`'))
                .expect("a command")
                .0;
            assert_eq!(
                api::shell::read(command),
                ["settle", "destination", "show", name]
            );
            assert!(sentence.starts_with(&format!("Of {name}: ")), "{sentence}");
        }
    }
}
