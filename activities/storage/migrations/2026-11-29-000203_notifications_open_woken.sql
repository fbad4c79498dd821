--step index notifications from 0.1.0
-- In place of `notifications_woken`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX notifications_open_woken ON notifications (sweep_at)
    WHERE (outcome IS NULL OR outcome = 'woken') AND waiting_topic_id IS NULL AND waits_since IS NULL
        AND wakes IS NOT NULL;
