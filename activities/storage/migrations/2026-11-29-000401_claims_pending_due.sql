--step index claims from 0.1.0
-- In place of `claims_due`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX claims_pending_due ON claims (platform_id, due_at)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'due');
--postgres     WHERE status IN ('pending', 'due');
