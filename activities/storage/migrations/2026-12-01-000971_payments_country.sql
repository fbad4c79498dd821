--step script payments from 0.1.0
-- Of a store that shows each payment: the country in which a payment was made, as ISO 3166-1 alpha-2.
ALTER TABLE payments ADD COLUMN country TEXT;
