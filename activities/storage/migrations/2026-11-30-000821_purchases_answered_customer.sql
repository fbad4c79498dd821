--step script purchases from 0.1.0
-- The store's id of the customer in the last answer that named one; NULL where notifications alone name customers.
ALTER TABLE purchases ADD COLUMN answered_customer TEXT
