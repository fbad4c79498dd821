--step index purchases from 0.1.0
-- For lists: an app's purchases in the list's order.
CREATE INDEX purchases_of_app ON purchases (app_id, updated_at, collapse_key);
