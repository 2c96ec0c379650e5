"""How a study's page shows what follows from other parameters."""

from tests.api.stage import Stage
from tests.support.spaces import by_name, choice, derived, number


def test_a_page_says_what_a_parameter_follows_from(stage: Stage) -> None:
    made = stage.create(
        {
            "name": "derived",
            "objective": {"external": True},
            "metrics": [{"name": "loss", "goal": "minimize"}],
            "space": {
                "base": number(0.1, 10, scale="log"),
                "optimizer": choice("sgd", "adam"),
                "lr": by_name("base", "optimizer", sgd=0.1, adam=0.001),
                "decay": derived("lr", "base"),
            },
            "search": {"strategy": "random"},
            "budget": {"trials": 1},
        }
    )
    page = stage.client.get(f"/studies/{made['id']}").text
    assert "base by optimizer: sgd 0.1, adam 0.001" in page
    assert "derived, factor" in page
    assert "lr by base / 32" in page
