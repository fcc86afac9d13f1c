-- A session is a token that also ends when nobody uses it for so long.
ALTER TABLE tokens ADD COLUMN idle_ms INTEGER;

-- Passwords of people who come over the network, as argon2 hashes in PHC form.
CREATE TABLE passwords (
    user    TEXT PRIMARY KEY,
    hash    TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
