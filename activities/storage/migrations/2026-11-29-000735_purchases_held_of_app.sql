--step index purchases from 0.1.0
-- For counts: an app's held purchases, whatever others hold (`src/db/partial.rs`).
CREATE INDEX purchases_held_of_app ON purchases (app_id, held_until)
    WHERE COALESCE(held_until, 0) > 0;
