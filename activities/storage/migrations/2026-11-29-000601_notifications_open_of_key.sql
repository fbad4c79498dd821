--step index notifications from 0.1.0
-- A purchase's open notifications, however many it had before.
CREATE INDEX notifications_open_of_key ON notifications (collapse_key, seq)
    WHERE outcome IS NULL OR outcome = 'of key';
