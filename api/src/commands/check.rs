//! `settle check`: checks whether the tables agree with each other.

use super::check_revenue::{self, Revenue};
use super::client::{Client, Remote};
use super::progress::bar;
use super::table;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Check the tables for consistency: inputs and outcomes, revisions and events, events and deliveries.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Reads all tables, a few rows at a time, and changes nothing. The exit code is 1 if a rule is violated.
`settle serve` checks continuously in the background: its metric settle_check_violations must read 0.

Example:
  settle check
  settle check --all                 (every rule, including those without violations)
  settle check revenue --month 2026-11
Next: `settle explain` with one of the printed examples."
)]
pub struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Also list the rules without violations.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Compare the revenue sent to each integration, by SKU and month, with the payment ledger. The exit code is 1 if
    /// an entry differs without a reason.
    Revenue(Revenue),
}

/// Checks all tables and prints the findings.
pub async fn check(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    if let Some(Part::Revenue(wanted)) = &options.part {
        return check_revenue::revenue(&client, &options.remote, wanted).await;
    }
    let whole = fetch_all(&client).await?;
    let violations = whole["violations"].as_i64().unwrap_or_default();
    if options.remote.json {
        table::json(&whole);
    } else {
        let is_shown = |rule: &&Value| options.all || violations_of(rule) > 0;
        table::items(&whole["rules"])
            .iter()
            .filter(is_shown)
            .for_each(print_rule);
        let rows = table::field(&whole, "checked");
        let rules = table::items(&whole["rules"]).len();
        match violations {
            0 => table::line(&format!("Check passed: {rules} rules, {rows} rows.")),
            count => table::line(&format!("{count} violations in {rows} rows.")),
        }
    }
    Ok(if violations > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads all pages and sums them up in one answer.
async fn fetch_all(client: &Client) -> anyhow::Result<Value> {
    let bar = bar("rows checked", None);
    let (mut checked, mut rules, mut cursor) = (0, Vec::<Value>::new(), None);
    loop {
        let answer = client.get("/v1/check", &[("cursor", cursor)]).await?;
        let rows = answer["checked"].as_i64().unwrap_or_default();
        checked += rows;
        bar.inc(rows.unsigned_abs());
        add(&mut rules, table::items(&answer["rules"]));
        cursor = answer["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let violations: i64 = rules.iter().map(violations_of).sum();
    Ok(json!({ "violations": violations, "checked": checked, "rules": rules }))
}

/// Adds the findings of one answer to those of the earlier answers.
fn add(rules: &mut Vec<Value>, more: &[Value]) {
    for rule in more {
        let Some(known) = rules.iter_mut().find(|known| known["name"] == rule["name"]) else {
            rules.push(rule.clone());
            continue;
        };
        known["violations"] = json!(violations_of(known) + violations_of(rule));
        let mut examples = table::items(&known["examples"]).to_vec();
        examples.extend(table::items(&rule["examples"]).iter().cloned());
        examples.truncate(5);
        known["examples"] = json!(examples);
    }
}

fn violations_of(rule: &Value) -> i64 {
    rule["violations"].as_i64().unwrap_or_default()
}

fn print_rule(rule: &Value) {
    let [name, description, of] =
        ["name", "description", "of"].map(|field| table::field(rule, field));
    match violations_of(rule) {
        0 => table::line(&format!("ok  {name} ({of}): {description}")),
        count => {
            let examples = table::items(&rule["examples"])
                .iter()
                .map(table::text)
                .collect::<Vec<_>>()
                .join(", ");
            table::line(&format!(
                "{count} {of} violate the rule {name} ({description}): {examples}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::add;
    use serde_json::json;

    #[test]
    fn the_pages_of_a_check_add_up() {
        let mut rules = Vec::new();
        let page = |violations: i64| json!([{"name": "a", "violations": violations, "examples": ["x", "y", "z"]}]);
        for violations in [0, 3, 4] {
            add(&mut rules, page(violations).as_array().unwrap());
        }
        assert_eq!(
            rules,
            [json!({"name": "a", "violations": 7, "examples": ["x", "y", "z", "x", "y"]})]
        );
    }
}
