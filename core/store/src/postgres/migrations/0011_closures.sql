-- What administrators have closed: drains, the maintenance switch, reservations.
CREATE TABLE closures (
    kind    TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    terms   TEXT COLLATE "C" NOT NULL,   -- JSON
    PRIMARY KEY (kind, name)
);
-- Whether a job is to avoid nodes where it failed, and which those are: JSON, NULL for none. Of tasks the first is
-- their array's.
ALTER TABLE jobs ADD COLUMN avoid_failed BOOLEAN;
ALTER TABLE jobs ADD COLUMN failed_on TEXT;
