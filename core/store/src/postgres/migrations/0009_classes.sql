-- The class that a job belongs to, of those that the site has; NULL for none.
ALTER TABLE jobs ADD COLUMN class TEXT;
