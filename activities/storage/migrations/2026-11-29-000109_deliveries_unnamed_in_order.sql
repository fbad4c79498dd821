--step index deliveries from 0.1.0
-- In place of `deliveries_unnamed`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_unnamed_in_order ON deliveries (seq)
--sqlite       WHERE status = 'waiting' OR status IN ('waiting', 'in order');
--postgres     WHERE status IN ('waiting', 'in order');
