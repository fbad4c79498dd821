--step script purchases from 0.1.0
-- The `updated_at` of the record as of which the purchase counts for nothing beside the others of its user (`spent` in
-- `domain`). It holds while the two are equal: an older process updates the purchase without this column.
ALTER TABLE purchases ADD COLUMN spent_at BIGINT
