"""The page in a browser: it sorts, folds, fits a phone, turns dark, prints, and asks nobody for anything.

Debian's Chromium does (`apt-get install chromium`); CI has it, elsewhere these tests are skipped without it.
"""

import os
import shutil

import pytest
from report_runs import assessment, run_of

from snnverify.report import store

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no Chromium on this machine")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run")  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI installs Chromium"
    with sync_playwright() as p:
        yield p.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "r"
    store.write(run_of(assessment(), assessment(name="other")), folder)
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(browser, address):
    page = browser.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda r: page.asked.append(r.url))
    page.on("console", lambda m: page.said.append(m.text))
    page.on("pageerror", lambda e: page.said.append(str(e)))
    page.goto(address)
    yield page
    assert page.asked == [address]  # nothing but the page itself
    assert page.said == []
    page.close()


def _column(page, table, index):
    return page.locator(f"[aria-label='{table}'] >> nth=0").locator(f"tbody tr > :nth-child({index})").all_inner_texts()


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_the_order_round(page):
    error = page.locator("[aria-label='Layers'] >> nth=0").get_by_role("button", name="error", exact=True)
    before = _column(page, "Layers", 5)
    error.click()
    up = [float(v) for v in _column(page, "Layers", 5)]
    assert up == sorted(map(float, before))
    error.click()
    assert [float(v) for v in _column(page, "Layers", 5)] == up[::-1]
    assert len(set(up)) > 1
    assert page.locator("th[aria-sort='descending']").count() == 1


def test_the_verdict_stands_first(page):
    first, second = page.locator("h1").first, page.locator("table").first
    assert "2 models" in first.inner_text()
    assert first.bounding_box()["y"] < second.bounding_box()["y"]
    assert first.bounding_box()["y"] < 300


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_notes_unfold(page):
    notes = page.locator("details").first
    inside = notes.locator("dl")
    assert not inside.is_visible()
    notes.locator("summary").click()
    assert inside.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(page, scheme):
    """Contrast of at least 4.5 (WCAG 2.1, 1.4.3) of ordinary text, in both themes."""
    page.emulate_media(color_scheme=scheme)
    found = page.evaluate("""() => {
      const parse = (c) => c.match(/[\\d.]+/g).map(Number);
      const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
      const light = (c) => { const f = c.slice(0, 3).map((v) => { v /= 255;
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
      const low = [];
      for (const e of document.querySelectorAll("h1, h2, h3, p, td, th, dt, dd, .chip, summary, code")) {
        if (!e.innerText || !e.offsetParent) continue;
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) low.push(e.className + " " + e.innerText.slice(0, 30) + " " + ratio.toFixed(2));
      }
      return low; }""")
    assert found == []


def test_it_prints(page, tmp_path):
    page.emulate_media(media="print")
    pdf = page.pdf(format="A4")
    assert pdf[:5] == b"%PDF-"
    assert len(pdf) > 20_000
