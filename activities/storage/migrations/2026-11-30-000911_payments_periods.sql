--step script payments from 0.1.0
-- Of a store that shows each payment: its id of the transaction that paid for the period, and what the entry adds in
-- the period's currency (negative for a refund).
ALTER TABLE payments ADD COLUMN store_transaction TEXT;
ALTER TABLE payments ADD COLUMN amount TEXT;
-- The paid period, which a one-time purchase has no end of, and the number of units; NULL for a change of a payment.
ALTER TABLE payments ADD COLUMN period_start BIGINT;
ALTER TABLE payments ADD COLUMN period_end BIGINT;
ALTER TABLE payments ADD COLUMN quantity BIGINT;
