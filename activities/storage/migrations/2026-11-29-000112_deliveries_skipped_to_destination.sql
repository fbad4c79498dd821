--step index deliveries from 0.1.0
-- In place of `deliveries_skipped_of_destination`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_skipped_to_destination ON deliveries (destination_id, seq)
--sqlite       WHERE status = 'skipped' OR status IN ('skipped', 'of destination');
--postgres     WHERE status IN ('skipped', 'of destination');
