-- What users, projects and groups of projects have used, by the hour in which it was charged. Kinds: 0 user,
-- 1 project, 2 group.
CREATE TABLE usage_hours (
    kind          SMALLINT NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    hour          BIGINT NOT NULL,       -- hours since 1970
    jobs          BIGINT NOT NULL,
    wall_ms       BIGINT NOT NULL,
    cpu_ms        BIGINT NOT NULL,       -- core-milliseconds
    memory_mib_ms BIGINT NOT NULL,
    cpu_millis    BIGINT NOT NULL,       -- sum of what was asked for
    memory_mib    BIGINT NOT NULL,
    PRIMARY KEY (kind, name, hour)
);
