import pytest

from benchmarks.hands import Share
from benchmarks.population import Cell, best, crossovers, promises
from benchmarks.population_peers import rate
from benchmarks.population_trials import SPACE, runs


def test_a_ratio_is_the_median_over_neighbours() -> None:
    assert Cell(32, 4, ours=[10.0, 90.0, 30.0], plain=[10.0, 10.0, 10.0]).ratio == 3.0
    assert Cell(32, 4).ratio is None


def test_on_a_shared_device_the_faster_way_of_the_peer_counts() -> None:
    assert Cell(32, 4, ours=[40.0, 40.0], plain=[10.0, 4.0], single=[5.0, 20.0]).ratio == 3.0


def test_the_best_population_of_a_width_is_what_is_promised() -> None:
    cells = [Cell(32, 1, [5.0], [10.0]), Cell(32, 64, [90.0], [10.0]), Cell(64, 64, [30.0], [10.0])]
    assert best(cells, 32) == 9.0
    assert {promise.name.split(":")[0]: promise.holds for promise in promises(cells, "cpu")} == {
        "cpu, width 32": True,
        "cpu, width 64": False,
    }
    assert [promise.holds for promise in promises([], "gpu")] == [None]


def test_where_it_stops_winning_is_said() -> None:
    cells = [Cell(32, 64, [20.0], [10.0]), Cell(256, 64, [9.0], [10.0]), Cell(32, 1, [20.0], [10.0])]
    assert list(crossovers(cells)) == ["  population 64: loses at width 256", "  population 1: wins at every width"]


def test_processes_are_counted_each_by_its_own_time() -> None:
    assert rate([Share(0.0, 2.0, 0, 10), Share(1.0, 2.0, 0, 10)]) == 15.0


def test_trials_are_the_same_for_everyone_and_mixed() -> None:
    some, more = runs(32, 40, epochs=5), runs(32, 60, epochs=5)
    assert [run.params for run in some] == [run.params for run in more[:40]]
    assert {run.params["optimizer"] for run in some} == set(SPACE["optimizer"]["choices"])
    assert all(("momentum" in run.params) == (run.params["optimizer"] in {"momentum", "nesterov"}) for run in some)
    assert len({run.seed for run in more}) == 60


@pytest.mark.parametrize("width", [16, 256])
def test_a_run_has_the_width_asked_for(width: int) -> None:
    assert all(list(run.hidden) == [width] for run in runs(width, 3, epochs=5))
