--step script claims from 0.1.0
-- Since when the sessions of the device list receipts without one of this customer; NULL while the customer is on it.
ALTER TABLE claims ADD COLUMN absent_since BIGINT
