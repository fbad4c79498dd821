--step script payments from 0.1.0
-- The day whose exchange rate converts an amount that was not paid in USD, and the day of the rate that did: an earlier one
-- if it was carried forward, and NULL while no rate counts on that day.
ALTER TABLE payments ADD COLUMN priced_on TEXT;
ALTER TABLE payments ADD COLUMN rate_day TEXT;
