-- When a job's directory was removed; what is known of it stays. Never of a task: its array's holds.
ALTER TABLE jobs ADD COLUMN archived BIGINT;
