--step index deliveries from 0.1.0
-- In place of `deliveries_skipped`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_skipped_in_order ON deliveries (seq)
--sqlite       WHERE status = 'skipped' OR status IN ('skipped', 'in order');
--postgres     WHERE status IN ('skipped', 'in order');
