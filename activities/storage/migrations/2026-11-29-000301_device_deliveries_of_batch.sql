--step index device_deliveries from 0.1.0
-- In place of `device_deliveries_batch`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX device_deliveries_of_batch ON device_deliveries (batch_id)
--sqlite       WHERE (status = 'pending' OR status IN ('pending', 'of batch')) AND batch_id IS NOT NULL;
--postgres     WHERE status IN ('pending', 'of batch') AND batch_id IS NOT NULL;
