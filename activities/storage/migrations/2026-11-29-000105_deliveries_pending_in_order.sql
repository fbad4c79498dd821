--step index deliveries from 0.1.0
-- In place of `deliveries_pending_by_age`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_pending_in_order ON deliveries (seq)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'in order');
--postgres     WHERE status IN ('pending', 'in order');
