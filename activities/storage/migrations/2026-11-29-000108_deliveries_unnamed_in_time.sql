--step index deliveries from 0.1.0
-- In place of `deliveries_waiting_since`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX deliveries_unnamed_in_time ON deliveries (created_at)
--sqlite       WHERE status = 'waiting' OR status IN ('waiting', 'since');
--postgres     WHERE status IN ('waiting', 'since');
