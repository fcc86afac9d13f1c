-- What administrators have set of users, projects and groups; kinds as in usage_hours, whose kind 3 is a
-- member of a project, named PROJECT/USER.
CREATE TABLE accounts (
    kind    SMALLINT NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    terms   TEXT COLLATE "C" NOT NULL,   -- JSON
    PRIMARY KEY (kind, name)
);
