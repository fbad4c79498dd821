//! A batch of a table from which an erasure removes names, and its result.

use super::columns::{Columns, Erased, RowTexts};
use db::error::Error;
use db::sql::Clause;
use db::writer::Write;

/// The batch of a table from which names are removed.
#[derive(Clone, Copy)]
pub struct ErasureBatch<'a> {
    pub who: Erased<'a>,
    /// The last row of the previous batch; 0 for the first batch.
    pub after: i64,
    pub limit: i64,
}

/// Result of removing names in one batch.
#[derive(Default)]
pub struct Removed {
    pub changed: usize,
    /// The row after which the next batch begins, where 0 means from the beginning; `None` when the stage is done.
    pub next_after: Option<i64>,
}

/// Converts a position in a stage's second table to its stored form, and back. A stage may read a second table after
/// its first one; those positions are stored negated, from -1 downwards.
const fn of_second(seq: i64) -> i64 {
    -1 - seq
}

impl Removed {
    /// Continues with the stage's second table after the last batch of the first.
    pub fn then_second(self) -> Self {
        Self {
            next_after: Some(self.next_after.unwrap_or(of_second(0))),
            ..self
        }
    }

    /// Converts the result of a batch of the second table.
    pub fn in_second(self) -> Self {
        Self {
            next_after: self.next_after.map(of_second),
            ..self
        }
    }

    /// Builds the result of a batch that took the first remaining rows: if it changed some, there may be more.
    pub fn first(changed: usize) -> Self {
        Self {
            changed,
            next_after: (changed > 0).then_some(0),
        }
    }
}

impl ErasureBatch<'_> {
    /// Returns this batch as a batch of the stage's second table; `None` while the first one is read.
    pub fn of_second(self) -> Option<Self> {
        (self.after < 0).then_some(Self {
            after: of_second(self.after),
            ..self
        })
    }

    /// Builds the result of this batch, which read the rows with these sequence numbers.
    pub fn removed(self, changed: usize, seqs: &[i64]) -> Removed {
        let is_full = i64::try_from(seqs.len()).is_ok_and(|count| count >= self.limit);
        Removed {
            changed,
            next_after: seqs.last().copied().filter(|_| is_full),
        }
    }

    /// Removes the names from the rows of the purchases.
    pub fn remove(
        self,
        write: &mut Write<'_>,
        columns: Columns,
        of_purchases: Clause,
    ) -> Result<Removed, Error> {
        let select = columns
            .of(of_purchases)
            .bind((self.who.anonymous, self.after, self.limit));
        let rows: Vec<RowTexts> = select.all(write.connection)?;
        let seqs = seqs(columns, &rows);
        let changed = columns.remove(write, self.who, rows)?.len();
        Ok(self.removed(changed, &seqs))
    }
}

pub fn seqs(columns: Columns, rows: &[RowTexts]) -> Vec<i64> {
    rows.iter().filter_map(|row| row.seq(columns)).collect()
}

/// Returns a `LIKE` pattern that matches every text that contains this one.
pub fn pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for one in text.chars() {
        if matches!(one, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::of_second;

    #[test]
    fn the_numbers_of_a_second_table_are_below_zero() {
        for (seq, after) in [(0, -1), (1, -2), (17, -18)] {
            assert_eq!((of_second(seq), of_second(after)), (after, seq));
        }
    }
}
