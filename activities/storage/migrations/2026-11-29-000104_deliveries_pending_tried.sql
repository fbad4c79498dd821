--step index deliveries from 0.1.0
-- In place of `deliveries_tried`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_pending_tried ON deliveries (destination_id, tried_at)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'tried');
--postgres     WHERE status IN ('pending', 'tried');
