--step index payments from 0.1.0
-- The payments whose orders are read again, in the order of their times.
CREATE INDEX payments_of_orders ON payments (app_id, occurred_at, collapse_key, number)
    WHERE store_transaction IS NOT NULL AND entry = 0
