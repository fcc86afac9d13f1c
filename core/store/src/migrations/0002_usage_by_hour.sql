-- What users, projects and groups of projects have used, by the hour in which it was charged. Kinds: 0 user,
-- 1 project, 2 group.
CREATE TABLE usage_hours (
    kind          INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    hour          INTEGER NOT NULL,    -- hours since 1970
    jobs          INTEGER NOT NULL,
    wall_ms       INTEGER NOT NULL,
    cpu_ms        INTEGER NOT NULL,    -- core-milliseconds
    memory_mib_ms INTEGER NOT NULL,
    cpu_millis    INTEGER NOT NULL,    -- sum of what was asked for
    memory_mib    INTEGER NOT NULL,
    PRIMARY KEY (kind, name, hour)
) STRICT, WITHOUT ROWID;
