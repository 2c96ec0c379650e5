"""The users: threads that keep studies running, ask and tell, and change their minds."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults import stub, studies
from tests.faults.caller import Caller, Reply, Unanswered

log = logging.getLogger("tuneup.faults")

STOCK_TRIALS = 40  # what waits for the workers, so that they are always busy
STOCK_EXTERNAL = 2
ASKERS = 2
_LOOK_SECONDS = 0.3
_NOBODY = "no worker has registered"  # the stub, because none has started yet
_LIVE = ("running", "paused")

Study = Mapping[str, Any]


@dataclass(eq=False, slots=True)
class Clients:
    """Every client of one run. Each thread draws from a generator of its own."""

    caller: Caller
    seed: int
    external: bool = True
    resting: threading.Event = field(default_factory=threading.Event)  # nothing new is posted any more
    _live: list[Study] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(6, "client"))
    _doing: list[Future[None]] = field(default_factory=list)

    def start(self) -> None:
        """Start to post, to ask and to tell."""
        loops = [self._keep, *([self._ask_and_tell] * ASKERS if self.external else [])]
        for place, loop in enumerate(loops):
            thread = threading.Thread(target=self._forever, args=(loop, Random(f"{self.seed} client {place}")))
            thread.daemon = True
            thread.start()
            self._threads.append(thread)

    def do(self, work: Callable[[], object]) -> None:
        """Have a client do something, in a thread of its own."""
        self._doing = [future for future in self._doing if not future.done()]
        self._doing.append(self._pool.submit(self._attempt, work))

    def live(self, *states: str) -> list[Study]:
        """Return the studies that had not ended a moment ago; `states` chooses among running and paused."""
        return [study for study in self._live if study["state"] in (states or _LIVE)]

    def look(self, **patience: float) -> list[Study]:
        """Ask the service which studies have not ended. Raise Unanswered."""
        pages = [self.caller.get(f"/v1/studies?state={state}&limit=1000", **patience).body["data"] for state in _LIVE]
        self._live = [study for page in pages for study in page]
        return self._live

    def settled(self) -> bool:
        """Say whether nothing is being done and every study has ended. Raise Unanswered where no API says so at once."""
        busy = any(not future.done() for future in self._doing)
        return not busy and not self.look(patience=0.1)

    def stop(self) -> None:
        """End every thread."""
        self.caller.stopped.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Unanswered as error:
            if not self.caller.stopped.is_set():
                self.caller.complaints.append(f"no answer: {error}")
        except Exception as error:
            log.exception("a client broke")
            self.caller.complaints.append(f"a client broke: {error!r}")

    def _forever(self, loop: Callable[[Random], object], rng: Random) -> None:
        while not self.caller.stopped.is_set():
            self._attempt(lambda: loop(rng))
            time.sleep(_LOOK_SECONDS * rng.uniform(0.2, 1.0))

    def _keep(self, rng: Random) -> None:
        """Post studies until enough trials wait."""
        if self.resting.is_set():
            return
        here = self.look()
        if self._waiting("cpu", here) < STOCK_TRIALS:
            self._post(studies.draw(rng, external=False))
        if self.external and len(self._externals()) < STOCK_EXTERNAL:
            self._post(studies.draw(rng, external=True))

    def _post(self, definition: studies.Definition) -> None:
        reply = self.caller.post("/v1/studies", definition)
        if _NOBODY not in str(reply.body):
            self._expect(reply, 201)

    def _waiting(self, queue: str, here: Sequence[Study]) -> int:
        return sum(
            study["progress"]["budget"] - study["progress"]["finished"]
            for study in here
            if study["queue"] == queue and study["state"] == "running"
        )

    def _externals(self) -> list[Study]:
        return [study for study in self.live() if study["queue"] == "external"]

    def _ask_and_tell(self, rng: Random) -> None:
        """Ask a study for trials until it has none; tell most, forget some, tell some twice or with another value."""
        for study in self._externals():
            body = {"client_id": f"client {rng.randrange(2**32)}", "count": rng.randint(1, 6)}
            reply = self.caller.post(f"/v1/studies/{study['id']}/trials:ask", body)
            if reply.status != 200:
                self._expect(reply, 409)  # it has ended meanwhile
                continue
            for trial in reply.body["data"]:
                self._run_trial(trial, rng)

    def _run_trial(self, trial: Study, rng: Random) -> None:
        """Do as a client would that trains by itself; one that dies leaves its trial to the lease."""
        if rng.random() < 0.03:
            return
        steps = rng.randint(0, 2)
        for step in range(1, steps + 1):
            values = {stub.METRIC: stub.value(trial["params"], step)}
            measured = {"token": trial["token"], "measurements": [{"step": step, "values": values}]}
            self._expect(self.caller.post(f"/v1/trials/{trial['id']}/measurements", measured), 200, 409)
        told = {"token": trial["token"], "values": {stub.METRIC: stub.value(trial["params"], steps + 1)}}
        path = f"/v1/trials/{trial['id']}:tell"
        if rng.random() < 0.1:
            self._expect(self.caller.post(path, {**told, "token": "0" * 32}), 409)
        if rng.random() < 0.1:
            self._expect(self.caller.post(path, {**told, "values": {stub.METRIC: float("nan")}}), 400, 409, 422)
        first = self.caller.post(path, told)
        self._expect(first, 200, 409)
        if rng.random() < 0.2 and first.status == 200:
            self._expect(self.caller.post(path, told), 200)
        if rng.random() < 0.2:
            second = self.caller.post(path, {**told, "values": {stub.METRIC: 99.0}})
            # Of a trial that was cancelled meanwhile nothing that is told counts, which is no conflict.
            if second.status != 200 or second.body["state"] != "cancelled":
                self._expect(second, 409)

    def _expect(self, reply: Reply, *statuses: int) -> None:
        if reply.status not in statuses:
            self.caller.complaints.append(f"expected {statuses}, got {reply}"[:500])

    def cancel(self, study: Study) -> None:
        """Cancel a study."""
        self._expect(self.caller.post(f"/v1/studies/{study['id']}:cancel"), 200, 409)

    def pause(self, study: Study, seconds: float) -> None:
        """Pause a study, and resume it after a while; one that has ended refuses both."""
        path = f"/v1/studies/{study['id']}"
        self._expect(self.caller.post(f"{path}:pause"), 200, 409)
        self.caller.stopped.wait(seconds)
        self._expect(self.caller.post(f"{path}:resume"), 200, 409)

    def change_budget(self, study: Study, trials: int) -> None:
        """Change a study's budget; less than is allocated is refused."""
        self._expect(self.caller.patch(f"/v1/studies/{study['id']}", {"budget": {"trials": trials}}), 200, 409, 422)

    def act_on_trial(self, study: Study, state: str, verb: str) -> None:
        """Retry or cancel the first trial of a study that is in this state."""
        page = self.caller.get(f"/v1/studies/{study['id']}/trials?state={state}&limit=1").body
        for trial in page.get("data", []):
            self._expect(self.caller.post(f"/v1/trials/{trial['id']}:{verb}"), 200, 409)
