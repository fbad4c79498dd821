--step index claims from 0.1.0
-- In place of `claims_waiting`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX claims_pending_of_network ON claims (platform_id, network, created_at, status)
--sqlite       WHERE status = 'pending' OR status IN ('pending', 'of network');
--postgres     WHERE status IN ('pending', 'of network');
