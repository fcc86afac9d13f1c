-- What administrators have set of users, projects and groups; kinds as in usage_hours, whose kind 3 is a
-- member of a project, named PROJECT/USER.
CREATE TABLE accounts (
    kind    INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    terms   TEXT    NOT NULL,          -- JSON
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
