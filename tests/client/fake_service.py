"""A service in memory that answers in the shapes of the real one and misbehaves on request.

Each look at a study finishes `step` more of its trials; with step 0 it never ends.
"""

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NOW = "2025-01-01T00:00:00Z"
PROBLEM = "application/problem+json"
METRIC = {"name": "val_loss", "goal": "minimize"}
ANALYSES: Mapping[str, Any] = {
    "importance": {
        "method": "fanova",
        "metric": METRIC,
        "completed": 300,
        "used": 200,
        "diverged": 1,
        "data": [
            {"parameter": "lr", "importance": 0.75, "trials": 200},
            {"parameter": "momentum", "importance": 0.25, "trials": 90},
        ],
    },
    "history": {
        "metric": METRIC,
        "total": 2,
        "data": [
            {"number": 1, "seq": 5, "state": "diverged", "finished_at": NOW, "value": None, "best": None},
            {"number": 0, "seq": 6, "state": "completed", "finished_at": NOW, "value": 0.125, "best": 0.125},
        ],
    },
    "savings": {
        "finished": 10,
        "pruned": 6,
        "share": 0.6,
        "steps": {"run": 80, "saved": 120, "full": 20},
        "seconds": {"run": 90.0, "saved": 125.0},
    },
    "comparison": {
        "metric": METRIC,
        "by": "optimizer",
        "baseline": "sgd",
        "data": [
            {
                "choice": "kfac",
                "params": {"optimizer": "kfac", "lr": 0.1},
                "runs": 3,
                "completed": 3,
                "values": {
                    "train_loss": {"mean": 0.125, "low": None, "high": None, "runs": 3},
                    "val_loss": {"mean": 0.25, "low": 0.125, "high": 0.375, "runs": 3},
                    "peak_memory": {"mean": 4.0, "low": 3.5, "high": 4.5, "runs": 3},
                },
                "ratios": {"peak_memory": {"mean": 2.0, "low": None, "high": None, "runs": 3}},
            },
            {
                "choice": "sgd",
                "params": {"optimizer": "sgd", "lr": 0.1},
                "runs": 3,
                "completed": 1,
                "values": {"val_loss": {"mean": 0.5, "low": None, "high": None, "runs": 1}},
                "ratios": {},
            },
        ],
    },
}


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    asked: str = ""  # the query as it was sent, repetitions and all


@dataclass(frozen=True)
class Answer:
    """What it gets back."""

    status: int
    body: Any = None
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mishap:
    """What happens to the next request instead: an answer, or (`answer` None) a connection closed without one.

    `late`: the request is carried out first, and only its answer is lost. `hang`: seconds of silence before.
    """

    answer: Answer | None = None
    late: bool = False
    hang: float = 0.0


def problem(status: int, title: str, detail: str = "", *, errors: Any = None, **headers: str) -> Answer:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors is not None:
        body["errors"] = errors
    return Answer(status, body, PROBLEM, {name.replace("_", "-"): value for name, value in headers.items()})


class FakeService:
    """The state of the service; `answer` is its whole API."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.mishaps: deque[Mishap] = deque()
        self.studies: dict[str, dict[str, Any]] = {}
        self.created: dict[str, str] = {}
        self.api_key: str | None = None
        self.step = 1_000_000
        self.ending = "completed"
        self.page_size = 3
        self.queues = ["cpu"]
        self.looked = threading.Event()

    def of(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    def answer(self, request: Request) -> Answer:
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return problem(401, "Unauthorized", "give the key as a bearer token")
        path = request.path.removeprefix("/v1")
        if path == "/studies":
            return self._create(request) if request.method == "POST" else self._page([*self.studies.values()], request)
        if path == "/studies:import":
            return self._import(request)
        if path == "/workers":
            return Answer(200, {"data": [{"id": f"host-{queue}", "queue": queue} for queue in self.queues]})
        if path.startswith("/trials/"):
            return self._trial(path.removeprefix("/trials/"))
        return self._of_study(path, request)

    def _of_study(self, path: str, request: Request) -> Answer:
        study_id, _, verb = path.removeprefix("/studies/").replace(":", "/:").partition("/")
        study = self.studies.get(study_id)
        if study is None:
            return problem(404, "Not found", f"there is no study {study_id}")
        return self._study(study, verb, request)

    def _trial(self, path: str) -> Answer:
        """Answer a replay: of trials 3, 13, ... the point does not follow, and that of trial 4 was given."""
        trial_id, _, verb = path.partition("/")
        study_id, _, number = trial_id.partition("-")
        if verb != "replay" or study_id not in self.studies:
            return problem(404, "Not found", f"there is no trial {trial_id}")
        trial = trial_json(self.studies[study_id], int(number))
        matches = {3: False, 4: None}.get(int(number) % 10, True)
        derived = None if matches is None else {**trial["params"], **({} if matches else {"lr": 0.5})}
        note = "its point was given (queued)" if matches is None else None
        return Answer(
            200,
            {
                "id": trial_id,
                "matches": matches,
                "params": trial["params"],
                "derived": derived,
                "why": {},
                "note": note,
            },
        )

    def _create(self, request: Request) -> Answer:
        definition = request.body
        missing = [name for name in ("name", "objective", "space") if name not in definition]
        if missing:
            errors = [{"path": name, "message": "is missing"} for name in missing]
            return problem(422, "Bad study", f"{len(missing)} faults", errors=errors)
        key = request.headers["idempotency-key"]
        study_id = self.created.setdefault(key, f"study{len(self.created):08}")
        self.studies.setdefault(study_id, study_json(study_id, definition))
        return Answer(201, self.studies[study_id])

    def _import(self, request: Request) -> Answer:
        if not request.body["source"].get("parameters"):
            errors = [{"path": "source.parameters", "message": "is required"}]
            return problem(422, "Bad study", "1 fault", errors=errors)
        definition = {"name": "imported", "space": request.body["source"]["parameters"], **request.body["study"]}
        study = study_json("study0", definition) if request.body["create"] else None
        notes = [{"path": "source.program", "message": "is not carried over"}]
        return Answer(201 if study else 200, {"definition": definition, "notes": notes, "study": study})

    def _study(self, study: dict[str, Any], verb: str, request: Request) -> Answer:
        if request.method == "DELETE":
            del self.studies[study["id"]]
            return Answer(204)
        if verb == "":
            self._advance(study)
            self.looked.set()
            return Answer(200, study)
        if verb.startswith(":"):
            return self._act(study, verb)
        if verb == "trials":
            return self._page([trial_json(study, number) for number in range(study["progress"]["finished"])], request)
        return self._shown(study, verb)

    def _shown(self, study: dict[str, Any], verb: str) -> Answer:
        if verb == "history.svg":
            return Answer(200, "<svg/>", "image/svg+xml")
        if verb == "best":
            return self._best(study)
        shown = pareto_json(study) if verb == "pareto" else {"study_id": study["id"], **ANALYSES[verb]}
        return Answer(200, shown)

    def _best(self, study: dict[str, Any]) -> Answer:
        if study["best"] is None:
            return problem(404, "Not found", "no trial has completed")
        trial = trial_json(study, study["best"]["number"])
        return Answer(200, {"trial": trial, "params": trial["params"], "values": trial["values"]})

    def _advance(self, study: dict[str, Any]) -> None:
        progress = study["progress"]
        if study["state"] != "running":
            return
        progress["finished"] = min(progress["budget"], progress["finished"] + self.step)
        progress["allocated"] = progress["finished"]
        if progress["finished"] and len(optimized(study)) == 1:
            study["best"] = {"number": 0, "value": 0.125}
        if progress["finished"] == progress["budget"]:
            study["state"] = self.ending

    def _act(self, study: dict[str, Any], verb: str) -> Answer:
        state = {":pause": "paused", ":resume": "running", ":cancel": "cancelled"}[verb]
        if study["state"] == "completed":
            return problem(409, "Conflict", f"study {study['id']} is completed")
        study["state"] = state
        return Answer(200, study)

    def _page(self, items: list[dict[str, Any]], request: Request) -> Answer:
        wanted = [item for item in items if item["state"] == request.query.get("state", item["state"])]
        wanted = [item for item in wanted if item["seq"] > int(request.query.get("since", "-1"))]
        start = int(request.query.get("cursor", "0"))
        end = start + self.page_size
        return Answer(200, {"data": wanted[start:end], "next": str(end) if end < len(wanted) else None})


def study_json(study_id: str, definition: dict[str, Any]) -> dict[str, Any]:
    budget = definition.get("budget", {}).get("trials", 4)
    return {
        "id": study_id,
        "name": definition["name"],
        "state": "running",
        "reason": None,
        "labels": {},
        "queue": definition.get("objective", {}).get("device", "cpu"),
        "definition": {"metrics": [{"name": "val_loss", "goal": "minimize"}], **definition},
        "seed": 1,
        "progress": {"allocated": 0, "finished": 0, "running": 0, "budget": budget},
        "counts": {"completed": 0},
        "parallelism": None,
        "seconds": None,
        "seq": 1,
        "best": None,
        "created_at": NOW,
        "started_at": None,
        "finished_at": None,
    }


def optimized(study: dict[str, Any]) -> list[dict[str, Any]]:
    metrics = study["definition"]["metrics"]
    return [metric for metric in metrics if metric.get("role", "optimize") == "optimize"]


def pareto_json(study: dict[str, Any]) -> dict[str, Any]:
    """Give the first trial for the front, once any has finished."""
    some = study["progress"]["finished"] > 0
    return {
        "data": [trial_json(study, 0)] if some else [],
        "objectives": [{"name": metric["name"], "goal": metric["goal"]} for metric in optimized(study)],
        "hypervolume": 0.75 if some else None,
        "reference": {metric["name"]: 1.0 for metric in optimized(study)} if some else {},
        "history": [{"number": 0, "hypervolume": 0.75}] if some else [],
    }


def trial_json(study: dict[str, Any], number: int) -> dict[str, Any]:
    # Of a study that failed no trial has completed.
    state = "pruned" if number % 2 else "failed" if study["state"] == "failed" else "completed"
    return {
        "id": f"{study['id']}-{number}",
        "study_id": study["id"],
        "number": number,
        "state": state,
        "params": {"lr": 0.01, "optimizer": "sgd"},
        "values": {"val_loss": 0.125},
        "attempt": 1,
        "origin": "grid",
        "why": None,
        "reason": "user_error: no such data" if state == "failed" else None,
        "seq": number + 1,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": NOW,
        "execution": None,
        "parent": None,
        "violation": None if state == "failed" else 0.0,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, service: FakeService, *args: Any) -> None:
        self.service = service
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, dict(parse_qsl(url.query)), headers, body, url.query)
        self.service.requests.append(request)
        mishap = self.service.mishaps.popleft() if self.service.mishaps else None
        if mishap is not None:
            threading.Event().wait(mishap.hang)
        if mishap is None or mishap.late:
            answer = self.service.answer(request)
        if mishap is not None and mishap.answer is None:
            self.close_connection = True
            return
        self._write(mishap.answer if mishap and mishap.answer else answer)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815  (the names that http.server calls)

    def _write(self, answer: Answer) -> None:
        content = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        encoded = b"" if answer.status == 204 else content.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


class Server(ThreadingHTTPServer):
    """The fake service on a free port of loopback."""

    daemon_threads = True

    def __init__(self, service: FakeService) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, service))
        self.url = f"http://127.0.0.1:{self.server_port}"
