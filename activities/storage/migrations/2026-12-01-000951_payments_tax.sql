--step script payments from 0.1.0
-- Of a store that shows each payment: the tax in the price of a payment, or in what the entry returns (negative for a
-- refund), in the period's currency.
ALTER TABLE payments ADD COLUMN tax TEXT;
