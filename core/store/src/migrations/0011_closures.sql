-- What administrators have closed: drains, the maintenance switch, reservations.
CREATE TABLE closures (
    kind    TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    terms   TEXT    NOT NULL,          -- JSON
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
-- Whether a job is to avoid nodes where it failed, and which those are: JSON, NULL for none. Of tasks the first is
-- their array's.
ALTER TABLE jobs ADD COLUMN avoid_failed INTEGER;
ALTER TABLE jobs ADD COLUMN failed_on TEXT;
