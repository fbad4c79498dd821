--step index notifications from 0.1.0
-- In place of `notifications_due`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX notifications_open_due ON notifications
--sqlite       (COALESCE(sweep_at, CASE WHEN cap_at < due_at THEN cap_at ELSE due_at END))
--postgres     ((COALESCE(sweep_at, CASE WHEN cap_at < due_at THEN cap_at ELSE due_at END)))
    WHERE (outcome IS NULL OR outcome = 'due') AND waiting_topic_id IS NULL AND waits_since IS NULL AND wakes IS NULL;
