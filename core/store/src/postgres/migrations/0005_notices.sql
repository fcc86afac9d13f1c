-- Notices that are owed: each goes when it was delivered, or when it is given up.
CREATE TABLE notices (
    id     TEXT COLLATE "C" PRIMARY KEY,
    sink   TEXT COLLATE "C" NOT NULL,    -- where it goes
    owner  TEXT COLLATE "C" NOT NULL,    -- whose job it is about
    target TEXT COLLATE "C" NOT NULL,    -- the address, where the sink has several
    at     BIGINT NOT NULL,              -- when it happened
    tries  BIGINT NOT NULL,
    due    BIGINT NOT NULL,              -- when it is to be tried
    body   TEXT COLLATE "C" NOT NULL     -- JSON
);

CREATE INDEX notices_due ON notices (sink, due, at, id);

-- What people want to be told of all their jobs.
CREATE TABLE notice_choices (
    owner  TEXT COLLATE "C" PRIMARY KEY,
    choice TEXT COLLATE "C" NOT NULL     -- JSON
);
