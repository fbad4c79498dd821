--step index deliveries from 0.1.0
-- In place of `deliveries_waiting_of_destination`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_unnamed_of_destination ON deliveries (destination_id, seq)
--sqlite       WHERE status = 'waiting' OR status IN ('waiting', 'of destination');
--postgres     WHERE status IN ('waiting', 'of destination');
