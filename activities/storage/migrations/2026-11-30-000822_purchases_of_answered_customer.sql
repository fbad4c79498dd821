--step index purchases from 0.1.0
-- For the erasure of a customer.
CREATE INDEX purchases_of_answered_customer ON purchases (answered_customer) WHERE answered_customer IS NOT NULL
