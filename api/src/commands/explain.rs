//! `settle explain`: prints the API's explanation as a tree of sentences.

use super::client::Client;
use super::drawn::{Exchange, Hook};
use super::{layout, table};
use serde_json::Value;

pub const HOOKS: &[(&str, Hook)] = &[
    ("notification", Hook::Print(print)),
    ("purchase", Hook::Print(print)),
    ("event", Hook::Print(print)),
    ("destination", Hook::Print(print)),
];

/// Prints an explanation as a tree of sentences.
pub fn print(_: &Client, Exchange { answer, .. }: &Exchange) {
    let mut lines = Vec::new();
    indent(answer, 0, &mut lines);
    for line in lines.iter().map(|line| layout::short_times(line)) {
        match layout::width() {
            Some(width) => {
                let below = line.len() - line.trim_start_matches(' ').len() + 2;
                layout::wrap(&line, width, below)
                    .iter()
                    .for_each(|line| table::plain(line));
            }
            None => table::plain(&line),
        }
    }
}

/// Adds the sentence of a node, followed by those of its children, which are indented.
fn indent(node: &Value, depth: usize, lines: &mut Vec<String>) {
    lines.push(format!(
        "{:width$}{}",
        "",
        table::field(node, "summary"),
        width = 2 * depth
    ));
    for next in node
        .get("then")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        indent(next, depth + 1, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::indent;
    use serde_json::json;

    #[test]
    fn what_came_of_a_thing_stands_below_it() {
        let event = json!({"summary": "event e", "then": [{"summary": "to `hook`: delivered", "then": [{"summary": "attempt 1"}]}]});
        let mut lines = Vec::new();
        indent(
            &json!({"summary": "purchase k", "then": [{"summary": "RENEWED: settled"}, event]}),
            0,
            &mut lines,
        );
        let expected = [
            "purchase k",
            "  RENEWED: settled",
            "  event e",
            "    to `hook`: delivered",
            "      attempt 1",
        ];
        assert_eq!(lines, expected);
    }
}
