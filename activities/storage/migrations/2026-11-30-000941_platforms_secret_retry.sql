--step script platforms from 0.1.0
-- When a refused credential is tried again, since its account may have the missing right by then; NULL if only another
-- credential can help. Without `secret_refused_at` it means nothing.
ALTER TABLE platforms ADD COLUMN secret_retry_at BIGINT
