-- Notices that are owed: each goes when it was delivered, or when it is given up.
CREATE TABLE notices (
    id     TEXT    PRIMARY KEY,
    sink   TEXT    NOT NULL,           -- where it goes
    owner  TEXT    NOT NULL,           -- whose job it is about
    target TEXT    NOT NULL,           -- the address, where the sink has several
    at     INTEGER NOT NULL,           -- when it happened
    tries  INTEGER NOT NULL,
    due    INTEGER NOT NULL,           -- when it is to be tried
    body   TEXT    NOT NULL            -- JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX notices_due ON notices (sink, due, at, id);

-- What people want to be told of all their jobs.
CREATE TABLE notice_choices (
    owner  TEXT PRIMARY KEY,
    choice TEXT NOT NULL               -- JSON
) STRICT, WITHOUT ROWID;
