--step index notifications from 0.1.0
-- In place of `notifications_receipt`: its predicate is implied by its own statements alone (`src/db/partial.rs`).
CREATE INDEX notifications_open_of_receipt ON notifications (receipt_id)
    WHERE outcome IS NULL OR outcome = 'of receipt';
