--step index notifications from 0.1.0
-- In place of `notifications_open`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX notifications_open_in_order ON notifications (seq)
    WHERE (outcome IS NULL OR outcome = 'in order') AND waiting_topic_id IS NULL AND waits_since IS NULL;
