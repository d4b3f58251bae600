"""The page in a real Chromium, before a real daemon and board: what a shifter sees, and the whole way by hand.

With DRIFTD_SCREENSHOTS naming a folder the pictures are left there.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.support.site import STREAM, Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; Debian has it in chromium")

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DRIFT = "jet_energy_scale=-0.1"
WALL = {"width": 1920, "height": 1080}
LIGHTEST = 100_000
"""Bytes that the whole page may weigh."""
PATIENCE_MS = 300_000
"""For anything that is waited for; it costs only where it does not come, and a fit on a busy machine takes long."""
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which every error of a script fails the test."""
    page = browser.new_page(viewport=WALL, color_scheme="dark")  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "attribute" in said.text else None)
    yield page
    page.close()
    assert not errors


PICTURES = os.environ.get("DRIFTD_SCREENSHOTS")


def shoot(page: Page, name: str) -> None:
    """Leave a picture, if pictures are wanted."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def says(page: Page, word: str) -> None:
    """The stream's lamp says ``word``, a regular expression, sooner or later."""
    expect(page.locator(f"#stream-{STREAM} .word")).to_have_text(re.compile(word))


def identify(page: Page, site: Site) -> None:
    """Give the page the operator's token by its dialog."""
    page.click("#who")
    page.fill("dialog input[name=token]", (site.folder / "operator.token").read_text().strip())
    page.click("dialog [type=submit]")
    expect(page.locator("#who")).to_contain_text("expert")
    expect(page.locator("#link")).to_have_text("live")


def confirm(page: Page, reason: str) -> None:
    """Fill the reason of the open dialog in and send it with the keyboard."""
    page.fill("dialog input[name=reason]", reason)
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).not_to_have_attribute("open", "")


def cut_off(page: Page, command: str) -> list[int]:
    """Let a command through to the daemon and lose its answer; the statuses of the answers that were lost."""
    lost: list[int] = []

    def handle(route: Route) -> None:
        lost.append(route.fetch().status)
        route.abort()

    page.route(f"**/api/v1/streams/*/{command}", handle)
    return lost


@pytest.mark.timeout(2400)  # two fits by real processes, on whatever machine
def test_a_shifter_re_calibrates_by_hand_through_the_page(site: Site, page: Page) -> None:
    """Healthy, drift, a proposal rejected, one asked for and approved, confirmed, rolled back, frozen, thawed."""
    site.board()
    site.daemon(mode="supervised", extra="backoff_ls = 60\n")
    page.goto(site.url)
    says(page, "Healthy")
    expect(page.locator("#who")).to_contain_text("viewer")
    expect(page.locator("[data-command=rollback]")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("b")
    expect(page.locator("#why-not")).to_contain_text("expert")
    expect(page.locator("dialog")).not_to_have_attribute("open", "")
    identify(page, site)
    expect(page.locator("[data-command=rollback]")).to_have_attribute("aria-disabled", "false")
    expect(page.locator("#series .line0.line")).to_have_count(3)
    if PICTURES:
        page.wait_for_timeout(3000)  # for plots of more than a few lumi sections
    shoot(page, "healthy")

    site.operate(do="condition", text=DRIFT)
    says(page, "Decide")
    expect(page.locator("#series .mark.drift").first).to_be_attached()
    first = site.stream()["proposal"]
    expect(page.locator("#proposal")).to_contain_text(first[:12])
    expect(page.locator("#proposal")).to_contain_text("Estimated overlap with what the undrifted trigger would accept")
    shoot(page, "decide")
    page.keyboard.press("x")
    expect(page.locator("dialog")).to_contain_text("Nothing is written")
    confirm(page, "let us look at it again")
    says(page, "Drift")
    page.click("[data-command=recalibrate]")
    expect(page.locator("dialog")).to_contain_text("waits for an approval")
    confirm(page, "jets still look low")
    says(page, "Recalibrating|Decide")
    says(page, "Decide")
    second = site.stream()["proposal"]
    assert second != first
    page.keyboard.press("a")
    changes = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/proposals/{second}/changes").json()["n_changes"]
    assert changes > 0
    expect(page.locator("dialog")).to_contain_text(f"This will be written: {changes} registers")
    shoot(page, "confirm")
    lost = cut_off(page, "approve")
    page.fill("dialog input[name=reason]", "the gates pass and the jets explain it")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_contain_text("It is not known whether axol1tl took “approve”")
    assert lost == [202]
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).not_to_have_attribute("open", "")
    says(page, "Recalibrating")
    shoot(page, "recalibrating")
    says(page, "Healthy")
    assert site.stream()["generation"] == 1
    expect(page.locator("#payload")).to_contain_text("Generation 1")
    expect(page.locator("#payload")).to_contain_text("input_scale")
    expect(page.locator("#series .mark.push").first).to_be_attached()
    expect(page.locator("#log")).to_contain_text("the gates pass and the jets explain it")
    shoot(page, "recalibrated")

    page.keyboard.press("b")
    expect(page.locator("dialog option").first).to_contain_text("nominal")
    expect(page.locator("dialog .written")).to_contain_text("This will be written")
    confirm(page, "an exercise")
    says(page, "Rolled back|Drift")
    assert site.stream()["generation"] == 2
    expect(page.locator("#payload")).to_contain_text("as the firmware was delivered")
    page.click("[data-command=freeze]")
    confirm(page, "access to the cavern")
    says(page, "Frozen")
    shoot(page, "frozen")
    page.keyboard.press("u")
    confirm(page, "the cavern is closed")
    says(page, "Warming up|Drift|Healthy|Decide|Recalibrating")
    audit = site.driftd("audit", "verify", "--config", str(site.folder / "config.toml"))
    assert audit.returncode == 0, audit.stderr


def test_what_is_old_is_shown_as_old_until_the_daemon_is_back(site: Site, page: Page) -> None:
    """The connection is lost and comes back; a stream that sends nothing is silent, not healthy."""
    board = site.board()
    site.daemon()
    page.goto(site.url)
    says(page, "Healthy")
    expect(page.locator("#lost")).to_be_hidden()
    site.end("run")
    expect(page.locator("#lost")).to_be_visible()
    expect(page.locator("#lost")).to_contain_text("What you see is old")
    page.keyboard.press("r")
    expect(page.locator("dialog")).not_to_have_attribute("open", "")
    shoot(page, "lost")
    site.daemon(extra="[ingest]\nsilent_s = 3\n")
    expect(page.locator("#lost")).to_be_hidden()
    says(page, "Healthy|Warming up")
    board.terminate()
    says(page, "Silent")
    expect(page.locator("#boards")).to_contain_text("does not answer")


def test_a_refusal_is_told_from_an_answer_that_was_lost(site: Site, page: Page) -> None:
    """Only an answer of the daemon's own is called one; else the page says that it does not know, and looks."""
    site.board()
    site.daemon()
    page.goto(site.url)
    says(page, "Healthy")
    identify(page, site)
    dialog, reason = page.locator("dialog"), "dialog input[name=reason]"
    page.route("**/api/v1/streams/*/freeze", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.click("[data-command=freeze]")
    page.fill(reason, "an exercise")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("It is not known whether axol1tl took “freeze”: the answer was 502")
    expect(dialog.locator("[type=submit], input")).to_have_count(0)
    page.keyboard.press("Escape")
    page.unroute("**/api/v1/streams/*/freeze")

    lost = cut_off(page, "freeze")
    page.click("[data-command=freeze]")
    page.fill(reason, "an exercise")
    with page.expect_request("**/api/v1/streams/axol1tl/history"):
        page.keyboard.press("Enter")
    expect(dialog).to_contain_text("It is not known whether axol1tl took “freeze”: no answer came")
    assert lost == [202]
    says(page, "Frozen")
    page.keyboard.press("Escape")

    page.unroute("**/api/v1/streams/*/freeze")
    page.keyboard.press("u")
    page.fill(reason, "the exercise is over")
    assert site.driftd("unfreeze", STREAM, "--reason", "by another").returncode == 0
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("The daemon refused it: ")
    expect(dialog).not_to_contain_text("not known")
    expect(dialog.locator("[type=submit]")).to_be_enabled()


def test_a_change_is_shown_by_its_event(site: Site, page: Page) -> None:
    """The poll of the status is only for what makes no event: without it a freeze is seen all the same."""
    site.board()
    site.daemon()
    page.goto(site.url)
    says(page, "Healthy")
    page.route("**/api/v1/status", lambda route: route.abort())
    assert site.driftd("freeze", STREAM, "--reason", "an exercise").returncode == 0
    says(page, "Frozen")
    section = page.locator(f"#stream-{STREAM} .figures dd").nth(3)
    before = section.inner_text()
    expect(section).not_to_have_text(before)


def test_who_may_see_nothing_is_asked_for_a_token(site: Site, page: Page) -> None:
    """A wrong one is told; with a right one the page is there at once."""
    site.daemon(http='anonymous = "none"\n')
    page.goto(site.url)
    expect(page.locator("dialog")).to_contain_text("needs the token of a viewer")
    page.fill("dialog input[name=token]", "driftd_ada_wrong")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_contain_text("no such token")
    page.fill("dialog input[name=token]", (site.folder / "operator.token").read_text().strip())
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_contain_text("expert")
    expect(page.locator("#link")).to_have_text("live")
    says(page, "No data")


def test_nothing_that_comes_over_the_wire_is_read_as_markup(site: Site, page: Page) -> None:
    site.board()
    site.daemon()
    site.phase("watching")
    script = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    assert site.driftd("freeze", STREAM, "--reason", script).returncode == 0
    page.goto(site.url)
    says(page, "Frozen")
    expect(page.locator("#log")).to_contain_text("<script>")
    assert page.locator("#log img, #log script").count() == 0
    assert "taken" not in page.title()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_is_light_and_needs_nothing_from_elsewhere(
    site: Site, browser: Browser, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request goes to the daemon; its files weigh little; a narrow window has no sideways scroll."""
    site.board()
    site.daemon()
    page = browser.new_page(viewport=WALL, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    says(page, "Healthy")
    assert all(url.startswith(site.url) for url in asked)
    weight = sum(len(httpx.get(url).content) for url in set(asked) if "/api/" not in url)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    with capsys.disabled():
        print(f"\npage ({scheme}): {weight} bytes in {len([u for u in set(asked) if '/api/' not in u])} files, "
              f"first contentful paint after {paint:.0f} ms")  # fmt: skip
    assert weight < LIGHTEST
    shoot(page, scheme)
    page.set_viewport_size({"width": 400, "height": 900})
    site.until(lambda: page.evaluate("document.querySelector('#series svg').width.baseVal.value < 400"))
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    shoot(page, f"narrow-{scheme}")
    page.close()


def test_the_sums_and_sentences_of_the_page(site: Site, page: Page) -> None:
    """The page's own arithmetic, run in the browser on made-up lumi sections."""
    site.daemon()
    page.goto(site.url)
    found = page.evaluate(
        """async () => {
          const { lamp, marks, progress, summed, grouped } = await import('/web/state.js');
          const section = (ls, generation, n, counts, expected) =>
            ({ ls, generation, epoch: 1, n, counts, expected, edges: [0, 1, 2], cuts: [1] });
          const windows = [
            section(1, 0, 100, [90, 10], [0.5, 0.5]),
            section(2, 1, 10, [4, 6], [0.2, 0.8]),
            section(3, 1, 30, [12, 18], [0.6, 0.4]),
          ];
          const point = (ls, level) => ({ run: 1, ls, level, t_ns: 10 * ls });
          const iov = (generation, payload_id, ls) => ({ generation, payload_id, run: 1, ls });
          const healthy = { phase: 'watching', silent_s: 0, silent_after_s: 60, last: { level: 'ok', text: 'fine' } };
          const words = (status) => lamp({ ...healthy, ...status }).word;
          return {
            sum: summed(windows, 5),
            none: summed([], 5),
            words: [
              words({}), words({ silent_s: null }), words({ silent_s: 61 }), words({ phase: 'fault' }),
              words({ phase: 'frozen' }), words({ phase: 'armed' }), words({ last: { level: 'drift', text: 'low' } }),
              words({ last: { level: 'watch', text: 'hm' } }), words({ phase: 'awaiting_approval' }),
            ],
            bar: progress({ phase: 'staging', mode: 'auto' }).map((step) => [step.title, step.state]),
            approval: progress({ phase: 'collecting', mode: 'supervised' }).some((step) => step.title === 'approval'),
            marks: marks(
              [point(1, 'ok'), point(2, 'drift'), point(3, 'drift'), point(4, 'ok'), point(5, 'ok')],
              {
                iovs: [iov(0, 'a', 1), iov(1, 'b', 3), iov(2, 'a', 5)],
                events: [
                  { kind: 'order freeze', level: 'info', time: 35 },
                  { kind: 'order freeze', level: 'warning', time: 15 },
                ],
              },
            ).map((mark) => [mark.at, mark.kind, mark.text]),
            fields: grouped([{ field: 'a' }, { field: 'b' }, { field: 'a' }]).map((f) => [f.field, f.list.length]),
          };
        }"""
    )
    total = found["sum"]
    assert (total["n"], total["counts"], total["first"]["ls"]) == (40, [16, 24], 2)
    assert total["expected"] == pytest.approx([0.5, 0.5])
    assert found["none"] is None
    assert found["words"] == [
        "Healthy", "No data", "Silent", "Fault", "Frozen", "Recalibrating", "Drift", "Watch", "Decide",
    ]  # fmt: skip
    assert found["bar"] == [
        ["collect", "done"], ["fit", "done"], ["gates", "done"], ["stage", "now"], ["preview", ""], ["armed", ""],
        ["confirm", ""],
    ]  # fmt: skip
    assert found["approval"]
    assert found["marks"] == [
        [1, "drift", "drift"], [2, "push", "gen 1"], [3, "freeze", "frozen"], [4, "rollback", "back, gen 2"],
    ]  # fmt: skip
    assert found["fields"] == [["a", 2], ["b", 1]]
