"""The lab's page in a real browser: choose, show, and see other pictures."""

from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, Page, expect

Site: TypeAlias = Any  # tests/dashboard/conftest.py
FIGURES = ("#picture-contours", "#picture-evolution", "#picture-average")
# The first answer waits for a process that has yet to load everything.
PATIENCE = 60_000


def pictures_are_drawn(page: Page) -> None:
    for figure in FIGURES:
        expect(page.locator(figure)).not_to_have_js_property("naturalWidth", 0)


def sources(page: Page) -> list[str | None]:
    return [page.locator(figure).get_attribute("src") for figure in FIGURES]


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 900, "light"), (390, 844, "dark")])
def test_another_surface_gives_other_pictures(
    browser_page: Page, site: Site, width: int, height: int, scheme: Any
) -> None:
    page = browser_page
    page.set_default_timeout(PATIENCE)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    faults: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(site.url) else faults.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None)
    page.goto(f"{site.url}/")
    page.get_by_role("link", name="Lab").click()
    expect(page).to_have_title("Lab · tuneup")
    expect(page.locator("#steps tbody tr")).to_have_count(6)
    pictures_are_drawn(page)
    before = sources(page)

    page.get_by_label("Surface").select_option("saddle")
    for name in ("AdaGrad", "RMSprop", "Adam", "SGD with Nesterov momentum"):
        page.get_by_label(name, exact=True).uncheck()
    page.get_by_label("Bias correction").select_option("off")
    page.get_by_role("button", name="Show").click()

    expect(page.get_by_label("Surface")).to_have_value("saddle")
    expect(page.get_by_label("Adam", exact=True)).not_to_be_checked()
    expect(page.locator("h2#counts")).to_have_text("Steps until |y| > 1")
    expect(page.locator("#steps tbody tr")).to_have_count(2)
    rows = page.locator("#steps tbody tr").all_inner_texts()
    assert [text.split("\t")[:3] for text in rows] == [
        ["Stochastic gradient descent", "698", "0.01"],
        ["SGD with momentum", "140", "0.01"],
    ]
    pictures_are_drawn(page)
    assert all(old != new for old, new in zip(before, sources(page), strict=True))
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"
    assert faults == []


def test_it_works_without_scripts_and_says_what_is_wrong(chromium: Browser, site: Site) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{site.url}/lab?optimizer=sgd")
    page.get_by_label("Learning rate").fill("-1")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("lr: must be in (0, 1e+06], got -1.0")
    page.get_by_label("Learning rate").fill("0.05")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#steps tbody tr")).to_have_count(1)
    page.context.close()
