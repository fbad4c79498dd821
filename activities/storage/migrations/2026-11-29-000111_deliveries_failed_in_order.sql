--step index deliveries from 0.1.0
-- In place of `deliveries_failed`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_failed_in_order ON deliveries (seq)
--sqlite       WHERE status = 'failed' OR status IN ('failed', 'in order');
--postgres     WHERE status IN ('failed', 'in order');
