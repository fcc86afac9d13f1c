-- People who come by the word of an outside issuer. Standing: 0 waits to be let in, 1 may work, 2 may no longer.
CREATE TABLE guests (
    name       TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    email      TEXT,
    standing   INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    seen       INTEGER NOT NULL,
    decided    INTEGER,
    decided_by TEXT,
    home_bytes INTEGER,
    measured   INTEGER
) STRICT, WITHOUT ROWID;
