"""The catalog of recipes agrees with the models that read them."""

from typing import get_args

from search.objectives import CLASSIFIER, RECIPES
from search.schema import FIXABLE, NETWORKS, ClassifierObjective


def test_recipes_stand_under_their_names() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}
    assert get_args(ClassifierObjective.model_fields["recipe"].annotation) == tuple(RECIPES)


def test_networks_agree_with_their_models() -> None:
    assert {kind.name: kind.layers for kind in CLASSIFIER.networks} == {
        name: (model.model_fields.keys() - {"kind"}).pop() for name, model in NETWORKS.items()
    }


def test_goals_and_limits() -> None:
    assert {metric.goal for metric in CLASSIFIER.metrics} <= {"minimize", "maximize"}
    assert set(CLASSIFIER.names) <= set(FIXABLE)
    metadata = ClassifierObjective.model_fields["epochs"].metadata
    assert CLASSIFIER.most_steps in [getattr(limit, "le", None) for limit in metadata]
