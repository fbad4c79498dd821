--step index deliveries from 0.1.0
-- In place of `deliveries_failed_of_destination`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_failed_to_destination ON deliveries (destination_id, seq)
--sqlite       WHERE status = 'failed' OR status IN ('failed', 'of destination');
--postgres     WHERE status IN ('failed', 'of destination');
