"""Two hundred clients at once on two API processes: every number is given out once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from migrations.upgrade import upgrade
from search.definition.examples import EXAMPLE_STUDIES
from tests.support import shared
from tests.support.deployment import running, wait_ready
from tuneup import Client

CLIENTS, ASKS = 200, 50
STUDY = {**EXAMPLE_STUDIES["wine-random"], "budget": {"trials": CLIENTS * ASKS}}


@pytest.fixture
def addresses(postgres_url: str, tmp_path: Path) -> Iterator[list[str]]:
    """Yield the addresses of two API processes over one database, without a broker."""
    upgrade(postgres_url)
    environment = {"TUNEUP_DATABASE_URL": postgres_url, "TUNEUP_BROKER_URL": "memory://", "TUNEUP_API_KEY": ""}
    with ExitStack() as stack:
        urls = []
        for place in range(2):
            port, log = shared.free_port(), tmp_path / f"api{place}.log"
            process = stack.enter_context(running(["api", "--port", str(port)], environment, log))
            urls.append(f"http://127.0.0.1:{port}")
            wait_ready(urls[-1], process, log)
        yield urls


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_200_clients_that_ask_50_times_get_10000_trials_each_once(addresses: list[str]) -> None:
    with Client(addresses[0]) as first:
        study = first.create_study(STUDY)
        together = Barrier(CLIENTS)

        def ask_and_tell(place: int) -> list[int]:
            with Client(addresses[place % 2], retries=20) as client:
                together.wait()
                numbers = []
                for _ in range(ASKS):
                    (trial,) = client.ask(study.id, client_id=f"client {place}", lease_seconds=600)
                    numbers.append(trial.number)
                    assert trial.tell({"val_loss": 1.0 / (1 + trial.number)}).state == "completed"
                return numbers

        with ThreadPoolExecutor(CLIENTS) as pool:
            given = [number for numbers in pool.map(ask_and_tell, range(CLIENTS)) for number in numbers]
        assert sorted(given) == list(range(CLIENTS * ASKS))
        assert study.refresh().state == "completed"
        assert study.data["counts"] == {"completed": CLIENTS * ASKS}
        assert study.best()["trial"]["number"] == CLIENTS * ASKS - 1
        assert {trial["attempt"] for trial in study.trials()} == {1}
