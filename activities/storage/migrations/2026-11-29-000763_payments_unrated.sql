--step index payments from 0.1.0
-- The payments without a rate, which an import of rates rechecks. Those of release 0.1.0 have no day.
CREATE INDEX payments_unrated ON payments (app_id, currency, COALESCE(priced_on, ''), collapse_key)
    WHERE unknown_because = 'no_rate';
