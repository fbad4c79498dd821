//! `settle check`: checks whether the tables agree with each other.

use super::check_revenue::{self, Revenue};
use super::client::{Client, Remote, read_as};
use super::progress::bar;
use super::table;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Maximum number of examples per rule.
const MAX_EXAMPLES: usize = 5;

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

/// A page of a check.
#[derive(Debug, Deserialize)]
struct CheckPage {
    checked: i64,
    rules: Vec<Rule>,
    next_cursor: Option<String>,
}

/// The sum of all pages.
#[derive(Debug, Default, Serialize)]
struct Whole {
    violations: i64,
    checked: i64,
    rules: Vec<Rule>,
}

/// A rule with its findings, like [`storage::RuleFindings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rule {
    name: String,
    of: String,
    description: String,
    violations: i64,
    examples: Vec<String>,
    /// Fields that this version does not know, for `--json`.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Checks all tables and prints the findings.
pub async fn check(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    if let Some(Part::Revenue(wanted)) = &options.part {
        return check_revenue::revenue(&client, &options.remote, wanted).await;
    }
    let whole = fetch_all(&client).await?;
    if options.remote.json {
        table::json(&json!(whole));
    } else {
        let is_shown = |rule: &&Rule| options.all || rule.violations > 0;
        whole.rules.iter().filter(is_shown).for_each(print_rule);
        let (rules, rows) = (whole.rules.len(), whole.checked);
        match whole.violations {
            0 => table::line(&format!("Check passed: {rules} rules, {rows} rows.")),
            count => table::line(&format!("{count} violations in {rows} rows.")),
        }
    }
    Ok(if whole.violations > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads all pages and combines them into one result.
async fn fetch_all(client: &Client) -> anyhow::Result<Whole> {
    let bar = bar("rows checked", None);
    let (mut whole, mut cursor) = (Whole::default(), None);
    loop {
        let answer = client.get("/v1/check", &[("cursor", cursor)]).await?;
        let page: CheckPage = read_as(&answer)?;
        whole.checked += page.checked;
        bar.inc(page.checked.unsigned_abs());
        add(&mut whole.rules, page.rules);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    whole.violations = whole.rules.iter().map(|rule| rule.violations).sum();
    Ok(whole)
}

/// Adds the findings of one page to those of the earlier pages.
fn add(rules: &mut Vec<Rule>, more: Vec<Rule>) {
    for rule in more {
        let Some(known) = rules.iter_mut().find(|known| known.name == rule.name) else {
            rules.push(rule);
            continue;
        };
        known.violations += rule.violations;
        known.examples.extend(rule.examples);
        known.examples.truncate(MAX_EXAMPLES);
    }
}

fn print_rule(rule: &Rule) {
    let [name, description, of] = [&rule.name, &rule.description, &rule.of].map(table::shown);
    match rule.violations {
        0 => table::line(&format!("ok  {name} ({of}): {description}")),
        count => {
            let examples: Vec<String> = rule.examples.iter().map(table::shown).collect();
            let examples = examples.join(", ");
            table::line(&format!(
                "{count} {of} violate the rule {name} ({description}): {examples}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, add, read_as};
    use serde_json::json;

    #[test]
    fn the_pages_of_a_check_add_up() {
        let mut rules = Vec::new();
        let page = |violations: i64| -> Vec<Rule> {
            let examples = ["x", "y", "z"];
            let rule = json!({
                "name": "a", "of": "events", "description": "A rule", "violations": violations, "examples": examples,
                "new": 1,
            });
            read_as(&json!([rule])).expect("rules")
        };
        for violations in [0, 3, 4] {
            add(&mut rules, page(violations));
        }
        let examples = ["x", "y", "z", "x", "y"];
        assert_eq!(
            json!(rules),
            json!([{
                "name": "a", "of": "events", "description": "A rule", "violations": 7, "examples": examples, "new": 1,
            }])
        );
    }
}
