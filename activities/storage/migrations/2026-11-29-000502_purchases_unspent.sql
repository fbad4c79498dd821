--step index purchases from 0.1.0
-- For settlings of a customer with thousands of purchases, of whom nearly all are spent.
CREATE INDEX purchases_unspent ON purchases (user_id) WHERE (spent_at IS NULL OR spent_at <> updated_at)
