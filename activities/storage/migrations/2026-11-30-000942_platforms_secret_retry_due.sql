--step index platforms from 0.1.0
CREATE INDEX platforms_secret_retry ON platforms (secret_retry_at) WHERE secret_retry_at IS NOT NULL
