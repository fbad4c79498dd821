--step index payments from 0.1.0
-- The amounts of a currency that a new rate may convert anew.
CREATE INDEX payments_priced_on ON payments (app_id, currency, priced_on) WHERE priced_on IS NOT NULL;
