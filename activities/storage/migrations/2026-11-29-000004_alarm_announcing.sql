--step script alarms from 0.1.0
-- An alarm of no app is announced to its apps in several transactions: the last app of those that are done, until all
-- are.
ALTER TABLE alarms ADD COLUMN announced_through TEXT;
CREATE INDEX alarms_announcing ON alarms (seq) WHERE announced_through IS NOT NULL;
