"""The pages in a real browser, against the real service."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, Response, expect

from models.states import TrialState
from search.trials.dispatch import Ran, Result

Site: TypeAlias = Any  # tests/dashboard/conftest.py
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
WATCH = """
window.found = [];
document.addEventListener("securitypolicyviolation", (event) => window.found.push(event.violatedDirective));
"""


class Watched:
    """A page and everything that went wrong on it: foreign requests, console errors, policy violations, dialogs."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self.asked: list[str] = []
        page.add_init_script(WATCH)
        page.on("request", lambda request: self._ask(request.url, url))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", self._refuse)

    def _ask(self, address: str, url: str) -> None:
        self.asked.append(address.removeprefix(url))
        if not address.startswith((f"{url}/", "data:")):
            self.faults.append(f"request to {address}")

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.faults.append(text)

    def _refuse(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def wrong(self) -> list[str]:
        """Return what went wrong so far."""
        return self.faults + list(self.page.evaluate("window.found"))


@pytest.fixture
def watched(browser_page: Page, site: Site) -> Watched:
    """Return an empty page that is being watched."""
    return Watched(browser_page, site.url)


@pytest.fixture
def hurried(watched: Watched) -> Watched:
    """Return a page that is being watched and whose time can be made to jump (`later`); else it passes as usual."""
    watched.page.clock.install()
    return watched


def row(page: Page, number: int) -> Locator:
    """Return the cells of a trial's row."""
    return page.locator(f"#trial-{number} > *")


def row_begins(page: Page, number: int, *cells: str) -> None:
    """Wait until the row of a trial begins with these cells: a page may still be on its way."""
    for index, text in enumerate(cells):
        expect(row(page, number).nth(index)).to_have_text(text)


def polls(response: Response) -> bool:
    return re.search(r"/v1/studies/\w+$", response.url) is not None


def later(page: Page, seconds: int = 2) -> None:
    """Let a page that has said how it stands wait no longer for its next question."""
    expect(page.locator("#live")).to_be_visible()
    page.clock.fast_forward(1000 * seconds)


def picture_is_drawn(page: Page) -> None:
    expect(page.locator(".picture img")).not_to_have_js_property("naturalWidth", 0)


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 900, "light"), (390, 844, "dark")])
def test_pages_are_whole(watched: Watched, site: Site, width: int, height: int, scheme: Any) -> None:
    study = site.add(name=HOSTILE, labels={HOSTILE: HOSTILE}, budget={"trials": 5})
    site.end(0.5)
    site.end(0.25)
    site.end(None, state=TrialState.DIVERGED, reason=HOSTILE)
    page = watched.page
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)

    page.goto(f"{site.url}/")
    expect(page).to_have_title("Studies · tuneup")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name=HOSTILE).click()

    expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    expect(page).to_have_title(f"3/5 · {HOSTILE} · tuneup")
    expect(page.locator(".counts")).to_contain_text("completed 2")
    expect(page.locator(".figure")).to_have_text("0.25000")
    expect(page.locator("dl")).to_contain_text(HOSTILE)
    row_begins(page, 2, "2", "diverged")
    expect(page.locator("#live")).to_have_text("live")
    picture_is_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"
    page.screenshot()
    assert watched.wrong() == []
    assert f"/v1/studies/{study}" in watched.asked


MEASURED = {
    "objective": {
        "recipe": "classifier",
        "data": "wine",
        "network": {"kind": "mlp", "hidden": [8]},
        "epochs": 2,
        "measured": {"test": 0.2},
        "curvature": ["spectrum", {"name": "saliency", "sparsity": 0.5}],
    },
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "kfac"]},
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    },
}


def test_a_measured_study_links_to_its_comparison(hurried: Watched, site: Site) -> None:
    study = site.add(**MEASURED)
    page = hurried.page
    page.goto(f"{site.url}/studies/{study}")
    expect(page.locator("#comparison")).to_have_count(0)  # nothing has completed

    site.end(0.5)
    later(page)
    card = page.get_by_role("region", name="Side by side")
    expect(card).to_contain_text("Each optimizer at its best configuration")
    links = {link.inner_text(): str(link.get_attribute("href")) for link in card.get_by_role("link").all()}
    assert list(links) == ["figure", "table", "data"]
    read = {title: page.request.get(f"{site.url}{address}") for title, address in links.items()}
    assert {title: answer.status for title, answer in read.items()} == {"figure": 200, "table": 200, "data": 200}
    assert read["figure"].headers["content-type"] == "image/svg+xml"
    assert read["table"].text().startswith("# wine")
    assert read["data"].json()["by"] == "optimizer"
    expect(page.locator("dl")).to_contain_text('"sparsity": 0.5')
    assert hurried.wrong() == []


def test_a_study_that_compares_nothing_has_no_such_links(watched: Watched, site: Site) -> None:
    watched.page.goto(f"{site.url}/studies/{site.add(space=MEASURED['space'])}")
    site.end(0.5)
    watched.page.reload()
    expect(watched.page.locator("tbody tr[id]")).to_have_count(1)
    expect(watched.page.locator("#comparison")).to_have_count(0)


def test_a_finished_trial_appears_by_itself(hurried: Watched, site: Site) -> None:
    study = site.add()
    site.end(0.5)
    page = hurried.page
    page.goto(f"{site.url}/studies/{study}")
    expect(page.locator("tbody tr[id]")).to_have_count(1)
    picture_is_drawn(page)
    before = str(page.locator(".picture img").get_attribute("src"))
    page.locator(".picture a").focus()
    page.evaluate("window.still = document.querySelector('.picture img')")

    claim = site.end(0.125)
    later(page)
    expect(page.locator("tbody tr[id]")).to_have_count(2)
    row_begins(page, claim.number, str(claim.number), "completed", "0.12500")
    expect(page.locator("tr.best > th")).to_have_text(str(claim.number))
    expect(page.locator(".figure")).to_have_text("0.12500")
    expect(page.locator(".progress")).to_contain_text("2 of 3 trials finished")
    expect(page).to_have_title("2/3 · wine · tuneup")
    expect(page.locator(".picture img")).not_to_have_attribute("src", before)
    picture_is_drawn(page)
    assert page.evaluate("window.still === document.querySelector('.picture img')"), "changed in place, not replaced"
    assert page.evaluate("document.activeElement === document.querySelector('.picture a')"), "the focus stays"

    site.end(0.25)
    later(page)
    expect(page.locator("h1 .state")).to_have_text("completed")
    expect(page.locator("#live")).to_have_text("ended")
    # The last picture may still be on its way.
    asked = hurried.asked.count(f"/v1/studies/{study}")
    later(page, 60)
    page.wait_for_timeout(200)
    assert hurried.asked.count(f"/v1/studies/{study}") == asked, "a study that ended is not asked about"
    assert hurried.wrong() == []


def test_an_unchanged_study_costs_only_304s(hurried: Watched, site: Site) -> None:
    study = site.add()
    page = hurried.page
    with page.expect_response(polls) as first:
        page.goto(f"{site.url}/studies/{study}")
    with page.expect_response(polls) as second:
        later(page)
    with page.expect_response(polls) as third:
        later(page)
    assert [seen.value.status for seen in (first, second, third)] == [200, 304, 304]
    assert hurried.asked.count(f"/studies/{study}") == 2, "opened once, and fetched after the first answer alone"


def test_a_lost_connection_is_said_and_mended(hurried: Watched, site: Site) -> None:
    study = site.add()
    page = hurried.page
    page.route("**/v1/studies/*", lambda route: route.abort())
    page.goto(f"{site.url}/studies/{study}")
    expect(page.locator("#live")).to_contain_text("connection lost")
    page.unroute("**/v1/studies/*")
    later(page, 60)
    expect(page.locator("#live")).to_have_text("live")


def test_a_new_study_appears_in_the_list(hurried: Watched, site: Site) -> None:
    page = hurried.page
    page.goto(f"{site.url}/")
    expect(page.locator("main")).to_contain_text("There is no study yet")
    expect(page.locator("#live")).to_have_text("live")
    site.add(name="later")
    later(page)
    expect(page.get_by_role("link", name="later")).to_be_visible()
    assert hurried.wrong() == []


def test_it_reads_without_scripts(chromium: Browser, site: Site) -> None:
    study = site.add()
    site.end(0.5)
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(f"{site.url}/studies/{study}")
    row_begins(page, 0, "0", "completed", "0.50000")
    expect(page.locator("#live")).to_be_hidden()
    page.context.close()


def test_trials_come_best_first_and_in_pages(browser_page: Page, site: Site) -> None:
    study = site.add(budget={"trials": 53}, metrics=[{"name": "val_accuracy", "goal": "maximize"}])
    claims = [claim for _ in range(53) for claim in site.worker.claim(queue="cpu", capacity=1)]
    for claim in claims[:52]:
        site.finish(claim, {"val_accuracy": (claim.number * 7 % 52) / 100})
    page = browser_page
    page.goto(f"{site.url}/studies/{study}")
    shown = page.locator("td.main").all_inner_texts()
    assert len(shown) == 50
    assert [float(value) for value in shown] == sorted((n / 100 for n in range(2, 52)), reverse=True)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("td.main")).to_have_text(["0.010000", "0.0000", ""])
    page.get_by_role("link", name="First page").click()
    expect(page.locator("td.main")).to_have_count(50)


def test_errors_are_pages(watched: Watched, site: Site) -> None:
    page = watched.page
    for path, status in (
        ("/studies/0000000000000", 404),
        ("/studies/<img src=x onerror=alert(1)>", 404),
        ("/?cursor=abc", 422),
    ):
        answer = page.goto(f"{site.url}{path}")
        assert answer is not None
        assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        expect(page.get_by_role("link", name="All studies")).to_be_visible()
    assert [fault for fault in watched.wrong() if "Failed to load resource" not in fault] == []


def test_every_page_carries_its_headers(browser_page: Page, site: Site) -> None:
    study = site.add()
    for path in ("/", f"/studies/{study}", "/studies/none"):
        headers = browser_page.request.get(f"{site.url}{path}").headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_picture_stands_alone(watched: Watched, site: Site) -> None:
    study = site.add()
    site.end(0.5)
    answer = watched.page.goto(f"{site.url}/v1/studies/{study}/history.svg?width=400&height=200")
    assert answer is not None
    assert answer.headers["content-type"] == "image/svg+xml"
    assert watched.page.locator("circle.completed").last.evaluate("e => getComputedStyle(e).fill") == "rgb(0, 114, 178)"
    assert watched.wrong() == []
    assert watched.page.request.get(f"{site.url}/v1/studies/{study}/history.svg?width=9").status == 422
    assert watched.page.request.get(f"{site.url}/v1/studies/none/history.svg").status == 404


def test_a_browser_gives_the_key_as_a_password(chromium: Browser, serve: Callable[..., Site]) -> None:
    guarded = serve("the key")
    study = guarded.add()
    guarded.end(0.5)
    page = chromium.new_context(http_credentials={"username": "any", "password": "the key"}).new_page()
    watched = Watched(page, guarded.url)
    page.goto(f"{guarded.url}/studies/{study}")
    expect(page.locator("#live")).to_have_text("live")
    picture_is_drawn(page)
    assert [fault for fault in watched.wrong() if "401" not in fault] == []
    stranger = chromium.new_context().new_page()
    for path in ("/", f"/studies/{study}", f"/v1/studies/{study}/history.svg"):
        assert stranger.request.get(f"{guarded.url}{path}").status == 401
    for opened in (page, stranger):
        opened.context.close()


def test_trials_that_were_trained_together_say_so(watched: Watched, site: Site) -> None:
    study = site.add()
    site.end(0.5)
    watched.page.goto(f"{site.url}/studies/{study}")
    expect(watched.page.locator(".trials th", has_text="Together")).to_have_count(0)
    ran = Ran("mlp 8, iris, batch 16, cpu", 37, 0.5, None)
    site.worker.finish([Result(site.claim(), TrialState.COMPLETED, values={"val_loss": 0.25}, ran=ran)])
    watched.page.reload()
    expect(watched.page.locator(".trials th", has_text="Together")).to_have_count(1)
    expect(row(watched.page, 1).filter(has_text=re.compile(r"^37$"))).to_have_count(1)
    expect(row(watched.page, 0)).not_to_have_count(0)
    expect(row(watched.page, 0).filter(has_text=re.compile(r"^37$"))).to_have_count(0)
    assert watched.wrong() == []
