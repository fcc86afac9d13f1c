-- A session is a token that also ends when nobody uses it for so long.
ALTER TABLE tokens ADD COLUMN idle_ms BIGINT;

-- Passwords of people who come over the network, as argon2 hashes in PHC form.
CREATE TABLE passwords (
    "user"  TEXT COLLATE "C" PRIMARY KEY,
    hash    TEXT COLLATE "C" NOT NULL,
    changed BIGINT NOT NULL
);
