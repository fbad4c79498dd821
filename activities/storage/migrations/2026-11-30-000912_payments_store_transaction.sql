--step index payments from 0.1.0
-- Books each entry of a transaction once, and finds the purchase that has it.
CREATE UNIQUE INDEX payments_store_transaction ON payments (store_transaction, collapse_key, entry)
    WHERE store_transaction IS NOT NULL;
