"""Whether maps are made by this process alone, by some processes of this machine, or by a cluster. Knows dask only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from errors import JobError

if TYPE_CHECKING:
    from inference.cluster.client import Cluster

REQUIREMENTS = "requirements-cluster.txt"


def installed() -> bool:
    """Is dask.distributed there?"""
    return find_spec("distributed") is not None


@contextmanager
def open_cluster(workers: int, scheduler: str, tell: Callable[[str], None]) -> Iterator[Cluster | None]:
    """The workers that make maps while the block runs; None where this process is to make them itself.

    Args:
        workers: Processes on this machine; 0: none of their own.
        scheduler: Address of a running cluster's scheduler, used where no processes are asked for; "": none.
        tell: Told several times a second what is waited for; may raise to stop.

    Raises:
        JobError: dask is not installed, no scheduler answers, or the workers are of another release of Terratune.
    """
    if workers == 0 and not scheduler:
        yield None
        return
    if not installed():
        raise JobError(
            "Several workers need dask.distributed, which is not installed here.",
            f"Install it with: pip install -r {REQUIREMENTS}; or ask for no workers and set no DASK_SCHEDULER_ADDRESS.",
        )
    from inference.cluster.client import local_cluster, remote_cluster

    with local_cluster(workers, tell) if workers else remote_cluster(scheduler, tell) as cluster:
        yield cluster
