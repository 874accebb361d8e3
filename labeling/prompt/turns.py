"""Who is next: a queue that is fair between owners, forgets what nobody asks for any more, and does idle work last. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Job = TypeVar("Job")
ABANDONED_AFTER_S = 12.0
"""A page asks again every second or so; one that does not is gone."""
IDLE_KEPT = 6
"""Idle jobs kept for each owner: the last ones asked for."""


@dataclass
class _Wanted(Generic[Job]):
    job: Job
    owners: dict[str, float] = field(default_factory=dict)
    """When each last asked."""


class Turns(Generic[Job]):
    """Jobs by key. An owner is a project and a tab; owners take turns, an owner's own jobs come in the order asked for. Not safe for threads."""

    def __init__(self) -> None:
        self._wanted: dict[str, _Wanted[Job]] = {}
        self._idle: dict[str, _Wanted[Job]] = {}
        self._order: OrderedDict[str, None] = OrderedDict()
        """Owners; the first is next."""

    def ask(self, owner: str, key: str, job: Job, now: float) -> None:
        """Want a job done; asking again keeps its place."""
        self._idle.pop(key, None)
        self._wanted.setdefault(key, _Wanted(job)).owners[owner] = now
        self._order.setdefault(owner)

    def when_idle(self, owner: str, jobs: dict[str, Job], now: float) -> None:
        """What may be done when nobody waits; replaces what the same owner wanted so before."""
        for key, entry in list(self._idle.items()):
            entry.owners.pop(owner, None)
            if not entry.owners:
                del self._idle[key]
        for key, job in list(jobs.items())[:IDLE_KEPT]:
            if key not in self._wanted:
                self._idle.setdefault(key, _Wanted(job)).owners[owner] = now

    def next(self, now: float) -> tuple[str, Job, bool] | None:
        """(key, job, idle) to do now; it stays in the queue until `done`. None: nothing to do."""
        self._forget_abandoned(now)
        for owner in list(self._order):
            for key, entry in self._wanted.items():
                if owner in entry.owners:
                    for served in entry.owners:
                        if served in self._order:
                            self._order.move_to_end(served)
                    return key, entry.job, False
            del self._order[owner]
        for key, entry in self._idle.items():
            return key, entry.job, True
        return None

    def done(self, key: str) -> None:
        """A job has been done, or has failed."""
        self._wanted.pop(key, None)
        self._idle.pop(key, None)

    def leave(self, owner: str) -> None:
        """An owner wants nothing any more."""
        for waiting in (self._wanted, self._idle):
            for key, entry in list(waiting.items()):
                entry.owners.pop(owner, None)
                if not entry.owners:
                    del waiting[key]

    def worth_going_on(self, key: str, now: float) -> bool:
        """Whether a job that is being done is still wanted; an idle one only while nobody waits for something else."""
        self._forget_abandoned(now)
        return key in self._wanted or (key in self._idle and not self._wanted)

    def wanted(self, key: str) -> bool:
        """Whether somebody waits for this."""
        return key in self._wanted

    def ahead(self, owner: str, key: str) -> int:
        """About how many jobs come before this one."""
        if key not in self._wanted:
            return 0
        mine = next((i for i, (k, e) in enumerate((k, e) for k, e in self._wanted.items() if owner in e.owners) if k == key), 0)
        others = sum(1 for other in self._order if other != owner)
        return min(len(self._wanted) - 1, mine + others)

    def _forget_abandoned(self, now: float) -> None:
        for key, entry in list(self._wanted.items()):
            entry.owners = {owner: asked for owner, asked in entry.owners.items() if now - asked < ABANDONED_AFTER_S}
            if not entry.owners:
                del self._wanted[key]
