--step index notifications from 0.1.0
-- Notifications that have ended and may still name a customer. An erasure reads them.
CREATE INDEX notifications_named ON notifications (seq)
    WHERE outcome || '' IS NOT NULL AND (app_user_id IS NOT NULL OR body <> '{}');
