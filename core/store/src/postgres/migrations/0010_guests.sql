-- People who come by the word of an outside issuer. Standing: 0 waits to be let in, 1 may work, 2 may no longer.
CREATE TABLE guests (
    name       TEXT COLLATE "C" PRIMARY KEY,
    issuer     TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    email      TEXT COLLATE "C",
    standing   SMALLINT NOT NULL,
    since      BIGINT NOT NULL,
    seen       BIGINT NOT NULL,
    decided    BIGINT,
    decided_by TEXT COLLATE "C",
    home_bytes BIGINT,
    measured   BIGINT
);
