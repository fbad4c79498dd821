--step index purchases from 0.1.0
-- The few purchases with several parts, which a change of the catalogue may concern.
CREATE INDEX purchases_parts ON purchases (part_skus) WHERE part_skus IS NOT NULL;
