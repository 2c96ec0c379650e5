"""The catalog of recipes agrees with the models that read them; other objectives find who runs them."""

from typing import Any, get_args

import pytest

from models.workers import greet
from search.definition.kinds import FIXABLE, OBJECTIVES, RecipeObjective
from search.definition.networks import NETWORKS, RegisteredNetwork
from search.definition.objectives import CLASSIFIER, RECIPES
from search.errors import InvalidStudy
from search.studies import service
from tests.support.ledger import Ledger, definition, done, report
from training.data.bundled import load
from workers.reaper import Reaper


def test_recipes_stand_under_their_names() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}
    assert get_args(RecipeObjective.model_fields["recipe"].annotation) == tuple(RECIPES)


def test_networks_agree_with_their_models() -> None:
    assert [kind.name for kind in CLASSIFIER.networks] == list(NETWORKS)
    for kind in CLASSIFIER.networks:
        listed = NETWORKS[kind.name].model_fields.keys() & {"hidden", "channels"}
        assert listed == ({kind.layers} if kind.layers else set())


def test_goals_and_limits() -> None:
    assert {metric.goal for metric in CLASSIFIER.metrics} <= {"minimize", "maximize"}
    assert set(FIXABLE) <= {*CLASSIFIER.names, "lr"}
    metadata = RecipeObjective.model_fields["epochs"].metadata
    assert CLASSIFIER.most_steps in [getattr(limit, "le", None) for limit in metadata]


def test_examples_are_counted_as_they_are_loaded() -> None:
    """Those of data that are the same everywhere; what is read from Python's own library differs with its version."""
    described = [data for recipe in RECIPES.values() for data in recipe.data]
    known = {data.name: data.examples for data in described if data.examples is not None}
    assert {"digits", "wine", "breast_cancer", "iris", "diabetes"} <= known.keys()
    assert known == {name: len(load(name).train) for name in known}


def _announce(ledger: Ledger, *names: str, queue: str = "cpu") -> None:
    row = {
        "id": "somebody",
        "host": "here",
        "pid": 1,
        "queue": queue,
        "capacity": 1,
        "objectives": list(names),
        "started_at": ledger.clock(),
        "seen_at": ledger.clock(),
    }
    ledger.database.write(lambda connection: greet(connection, row))


def test_kinds_stand_under_the_field_that_tells_them() -> None:
    for kind, model in OBJECTIVES.items():
        assert kind in model.model_fields
        assert [other for other in OBJECTIVES if other in model.model_fields] == [kind]


def test_what_nobody_has_registered_is_refused(ledger: Ledger) -> None:
    raw = definition(objective={"name": "mine"})
    with pytest.raises(InvalidStudy) as refused:
        ledger.create(raw)
    (fault,) = refused.value.faults
    assert fault.path == "objective.name"
    assert fault.message == (
        "no worker has registered 'mine'; known are none: start a worker with it in its tuneup.toml"
    )
    _announce(ledger, "theirs", "hers")
    with pytest.raises(InvalidStudy, match="known are hers, theirs: start"):
        ledger.create(raw)
    assert ledger.rows("study") == []


def test_a_registered_objective_is_claimed_by_who_has_it(ledger: Ledger) -> None:
    _announce(ledger, "mine", queue="gpu")
    study = ledger.create(definition(objective={"name": "mine", "device": "gpu"}, trials=1))
    (row,) = ledger.rows("study")
    assert (row.queue, row.objective) == ("gpu", "mine")
    worker = ledger.worker()
    assert worker.claim(queue="gpu", capacity=1) == []
    assert worker.claim(queue="gpu", capacity=1, objectives=["other"]) == []
    assert worker.claim(queue="cpu", capacity=1, objectives=["mine"]) == []
    (claim,) = worker.claim(queue="gpu", capacity=1, objectives=["other", "mine"])
    worker.finish([done(claim)])
    assert ledger.study(study).record.state == "completed"


def test_a_study_lives_on_when_nobody_has_its_objective_any_more(ledger: Ledger) -> None:
    _announce(ledger, "mine")
    study = ledger.create(definition(objective={"name": "mine"}))
    _announce(ledger)
    assert ledger.act(service.change_study, study, {"name": "another"}).view.record.name == "another"
    with pytest.raises(InvalidStudy):
        ledger.create(definition(objective={"name": "mine"}))


def test_an_external_study_waits_for_no_worker(ledger: Ledger) -> None:
    raw = definition(objective={"external": True}, trials=1)
    made = ledger.database.write(lambda c: service.create_study(c, ledger.project, raw, now=ledger.clock()))
    assert made.wake is None
    (row,) = ledger.rows("study")
    assert (row.queue, row.objective) == ("external", None)
    rung: list[str] = []
    reaper = Reaper(ledger.database, lease_seconds=60, period_seconds=1, nudge=rung.extend, clock=ledger.clock)
    reaper.sweep()
    assert rung == []
    ledger.create(definition(trials=1))
    reaper.sweep()
    assert rung == ["cpu"]


def test_the_last_step_of_a_registered_objective_is_never_a_rung(ledger: Ledger) -> None:
    _announce(ledger, "mine")
    pruning = {"kind": "asha", "reduction": 2, "min_steps": 4}
    for steps, stops in ((4, False), (None, True)):
        ledger.create(definition(objective={"name": "mine", "steps": steps}, trials=2, pruning=pruning))
        worker = ledger.worker()
        good, bad = worker.claim(queue="cpu", capacity=2, objectives=["mine"])
        worker.report([report(good, 4, 0.1)])
        (verdict,) = worker.report([report(bad, 4, 0.9)])
        assert verdict.stop is stops
        worker.finish([done(good), done(bad)])


def test_a_name_of_another_queue_alone_is_refused(ledger: Ledger) -> None:
    _announce(ledger, "mine")
    with pytest.raises(InvalidStudy) as refused:
        ledger.create(definition(objective={"name": "mine", "device": "gpu"}))
    (fault,) = refused.value.faults
    assert fault.path == "objective.device"
    assert "registered by workers of cpu alone" in fault.message


def _trained(name: str, **more: object) -> dict[str, Any]:
    """Return a study of one trial that trains a registered network."""
    raw = definition(trials=1)
    network = {"kind": "registered", "name": name, "options": {"width": 8}}
    return {**raw, "objective": {**raw["objective"], "network": network, **more}}


def test_a_network_that_nobody_has_registered_is_refused(ledger: Ledger) -> None:
    _announce(ledger, "mine", "network:theirs", "network:hers")
    with pytest.raises(InvalidStudy) as refused:
        ledger.create(_trained("mine"))  # which is an objective
    (fault,) = refused.value.faults
    assert fault.path == "objective.network.name"
    assert fault.message == (
        "no worker has registered the network 'mine'; known are hers, theirs: start a worker with it in its tuneup.toml"
    )
    with pytest.raises(InvalidStudy) as refused:
        ledger.create(_trained("hers", device="gpu"))
    (fault,) = refused.value.faults
    assert fault.path == "objective.device"
    assert "the network 'hers' is registered by workers of cpu alone" in fault.message
    for name in ("network:hers", "hers"):  # which is no objective
        with pytest.raises(InvalidStudy, match=f"no worker has registered '{name}'; known are mine:"):
            ledger.create(definition(objective={"name": name}))
    assert ledger.rows("study") == []


def test_a_registered_network_is_claimed_by_who_has_it(ledger: Ledger) -> None:
    _announce(ledger, "network:mine")
    ledger.create(_trained("mine"))
    (row,) = ledger.rows("study")
    assert (row.queue, row.objective) == ("cpu", "network:mine")
    worker = ledger.worker()
    for others in ([], ["mine"], ["network:other"]):
        assert worker.claim(queue="cpu", capacity=1, objectives=others) == []
    (claim,) = worker.claim(queue="cpu", capacity=1, objectives=["network:mine", "other"])
    assert isinstance(claim.definition.objective, RecipeObjective)
    assert claim.definition.objective.network == RegisteredNetwork(kind="registered", name="mine", options={"width": 8})
    assert claim.definition.objective.last_step is not None
