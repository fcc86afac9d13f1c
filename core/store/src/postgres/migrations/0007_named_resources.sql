-- Resources by the names that the site gave them: what a job asks for, and what its present or last execution
-- holds. JSON, NULL for none.
ALTER TABLE jobs ADD COLUMN named TEXT;
ALTER TABLE jobs ADD COLUMN granted TEXT;
