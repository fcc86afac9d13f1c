-- What the directories of jobs take on the disk, each as it was measured last: a task has one of its own. A row goes
-- with its directory. `runs_over` is the number of the execution that was over by then.
CREATE TABLE directories (
    job       BIGINT PRIMARY KEY,
    runs_over BIGINT NOT NULL,
    bytes     BIGINT NOT NULL
);
