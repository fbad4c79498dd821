--step index deliveries from 0.1.0
-- In place of `deliveries_of_destination`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_pending_of_destination ON deliveries (destination_id, seq)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'of destination');
--postgres     WHERE status IN ('pending', 'of destination');
