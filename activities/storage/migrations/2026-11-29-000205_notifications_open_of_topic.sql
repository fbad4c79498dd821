--step index notifications from 0.1.0
-- In place of `notifications_waiting`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX notifications_open_of_topic ON notifications (waiting_topic_id, seq)
    WHERE (outcome IS NULL OR outcome = 'of topic') AND waiting_topic_id IS NOT NULL;
