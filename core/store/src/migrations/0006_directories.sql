-- What the directories of jobs take on the disk, each as it was measured last: a task has one of its own. A row goes
-- with its directory. `runs_over` is the number of the execution that was over by then.
CREATE TABLE directories (
    job       INTEGER PRIMARY KEY,
    runs_over INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT;
