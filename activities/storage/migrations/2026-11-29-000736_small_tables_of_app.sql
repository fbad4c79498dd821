--step script from 0.1.0
-- For lists: what an app has of each, whatever others have.
CREATE INDEX platforms_of_app ON platforms (app_id);
CREATE INDEX destinations_of_app ON destinations (app_id);
CREATE INDEX api_keys_of_app ON api_keys (app_id, created_at, id);
CREATE INDEX sign_ins_of_app ON sign_ins (app_id, created_at, id);
