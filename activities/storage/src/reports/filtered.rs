//! Statements with the conditions that a filter adds to them.

use db::sql::{Clause, Sql};
use db::statement::{Statement, Value, sql};

/// A statement with a place for optional conditions, and the values to bind.
#[derive(Clone)]
pub struct Filtered<'a> {
    list: Sql,
    conditions: Vec<&'static str>,
    values: Vec<Value<'a>>,
}

impl<'a> Filtered<'a> {
    /// Creates a list whose own values are bound before those of the conditions.
    pub fn new(list: Sql, values: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self {
            list,
            conditions: Vec::new(),
            values: values.into_iter().collect(),
        }
    }

    /// Adds a condition with a value, if there is a value.
    pub fn and<V: Into<Value<'a>>>(mut self, condition: Clause, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.conditions.push(condition.text);
            self.values.push(value.into());
        }
        self
    }

    /// Adds a condition without a value.
    pub fn when(mut self, condition: Option<Clause>) -> Self {
        self.conditions
            .extend(condition.map(|condition| condition.text));
        self
    }

    /// Returns the statement; the caller must bind the limit.
    pub fn statement(self) -> Statement<'a> {
        let is_varied = self
            .values
            .iter()
            .any(|value| matches!(value, Value::List(all) if all.len() > 1));
        let statement = sql(self.list.with(&self.conditions)).bind_all(self.values);
        if is_varied {
            statement.uncached()
        } else {
            statement
        }
    }
}
