--step index deliveries from 0.1.0
-- In place of `deliveries_due`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_pending_due ON deliveries (destination_id, next_due_at)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'due');
--postgres     WHERE status IN ('pending', 'due');
