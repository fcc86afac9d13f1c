"""Runs so many tasks of `true` with HyperQueue: its real server and worker, in this process.

Prints tasks per second, from submission to the end of the last task.
"""

import sys
import time
from pathlib import Path

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

tasks, cores, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
with LocalCluster(str(folder / "server")) as cluster:
    cluster.start_worker(WorkerConfig(cores=cores))
    client = cluster.client()
    job = Job(default_workdir=folder / "jobs")
    for _ in range(tasks):
        job.program(["true"])
    begun = time.monotonic()
    client.wait_for_jobs([client.submit(job)])
    print("tasks/s", tasks / (time.monotonic() - begun), flush=True)
