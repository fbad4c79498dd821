--step script purchases from 0.1.0
-- The SKUs of the further parts of a purchase that renews several together, each between two bars; NULL for one part.
ALTER TABLE purchases ADD COLUMN part_skus TEXT
