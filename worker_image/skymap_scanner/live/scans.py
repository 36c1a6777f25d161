"""The scans that a server may show: one by its name, or all that are found on a broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skymap_api.names import ScanTopics, TopicBases
from skymap_api.progress import Progress, ProgressPhase
from skymap_scanner.broker import Broker
from skymap_scanner.errors import BrokerError, BrokerUnavailable, SkymapError
from skymap_scanner.live.follower import Follower
from skymap_scanner.live.followers import Followers
from skymap_scanner.roles.scans import find_scans, latest_progress

#: Time between two listings of a broker (s), time in which progress is read for one, and time after which that of a
#: finished scan is read again.
LIST_INTERVAL, LIST_TIME, DONE_INTERVAL = 3.0, 2.0, 60.0


@dataclass(frozen=True, slots=True)
class ListedScan:
    """A scan on the broker; ``progress``: the last that was read, None if there was none, or no time for it yet."""

    name: str
    progress: Progress | None


class Scans:
    """The scans on a broker, followed while pages show them.

    ``name``: the one scan that is shown, from the start and whether or not it has begun; None: all on the broker. The
    methods may be called by any thread. `listed` and `find` wait for the broker, so a server calls them in threads.
    """

    def __init__(self, open_broker: Callable[[], Broker | None], bases: TopicBases, name: str | None = None) -> None:
        self.name = name
        self.followers = Followers(open_broker, lasting=name is not None)
        self._open_broker = open_broker
        self._bases = bases
        self._listing = threading.Lock()
        #: When the scans were listed last (s, monotonic), and the result.
        self._listed: tuple[float, Sequence[ListedScan] | SkymapError] | None = None
        self._progress: dict[str, tuple[float, Progress | None]] = {}  # and when it was read (s, monotonic)
        if name is not None:
            self.followers.follow(name, ScanTopics.of(name, bases))

    def close(self) -> None:
        """Stop following all scans."""
        self.followers.close()

    def listed(self) -> Sequence[ListedScan]:
        """Return the scans on the broker by name, at most some seconds old; raises SkymapError as the broker does.

        While one thread reads the broker, other threads get the previous result, which may be a failure.
        """
        if self._listing.acquire(blocking=self._listed is None):
            try:
                if self._listed is None or time.monotonic() - self._listed[0] >= LIST_INTERVAL:
                    found = self._list_or_error()
                    self._listed = (time.monotonic(), found)
            finally:
                self._listing.release()
        assert self._listed is not None  # noqa: S101 - for the type checker
        _, found = self._listed
        if isinstance(found, SkymapError):
            raise found.with_traceback(None)
        return found

    def _list_or_error(self) -> Sequence[ListedScan] | SkymapError:
        try:
            return self._list()
        except SkymapError as error:
            return error

    def _list(self) -> Sequence[ListedScan]:
        """List the scans, and read the progress of as many as there is time for, the longest unread first."""
        broker = self._open_broker()
        if broker is None:
            return ()
        with broker:
            found, until = find_scans(broker, self._bases), time.monotonic() + LIST_TIME
            known = {name: self._progress.get(name, (-DONE_INTERVAL, None)) for name in found}
            for name in sorted(known, key=lambda name: known[name][0]):
                read, progress = known[name]
                now, topic = time.monotonic(), ScanTopics.of(name, self._bases).progress
                if now > until:
                    break
                finished = progress is not None and progress.phase is ProgressPhase.DONE
                if topic in found[name] and not (finished and now - read < DONE_INTERVAL):
                    known[name] = (now, _progress_on(broker, topic))
        self._progress = known
        return [ListedScan(name, known[name][1]) for name in found]

    def find(self, name: str, *, anew: bool = False) -> Follower | None:
        """Return the follower of a scan, which begins now if none does; None if there is no such scan.

        ``anew``: one that has ended begins again where the scan is still on the broker, perhaps as another one of the
        same name. Raises TooManyScansError if all followers have pages; SkymapError if the broker cannot be read.
        """
        follower, over = self.followers.awaiting_page(name)
        if follower is not None and not (anew and over and self.name is None):
            return follower
        if self.name is not None or name not in {listed.name for listed in self.listed()}:
            return follower
        return self.followers.follow(name, ScanTopics.of(name, self._bases), instead_of=follower)


def _progress_on(broker: Broker, topic: str) -> Progress | None:
    """Return the latest snapshot on a topic, None without one, or if the topic was deleted meanwhile."""
    try:
        with broker.reader(topic, create=False) as reader:
            return latest_progress(reader, 0)
    except BrokerUnavailable:
        raise
    except BrokerError:
        return None
