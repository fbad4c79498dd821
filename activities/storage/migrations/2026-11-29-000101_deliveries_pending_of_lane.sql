--step index deliveries from 0.1.0
-- In place of `deliveries_pending`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_pending_of_lane ON deliveries (collapse_key, destination_id, seq)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'of lane');
--postgres     WHERE status IN ('pending', 'of lane');
