"""The dashboard in a real browser, before a real engine."""

import os
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, Skip, equal, eventually
from harness.web import Load, ask

checks = Checks("browser")
SHOTS = engine.OUT / "screenshots"
PAGES = ["", "routers", "services", "middlewares", "problems"]


class Given(engine.Project):
    """MusicShare, and a Chromium of the system's."""

    def __enter__(self):
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise Skip(f"no playwright: {error}") from error
        program = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
        if not program:
            raise Skip("no Chromium installed")
        super().__enter__()
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.url = f"http://{self.host}:8080/dashboard/"
        return self

    def __exit__(self, *what):
        if hasattr(self, "browser"):
            self.browser.close()
            self.playwright.stop()
        super().__exit__(*what)

    @contextmanager
    def page(self, path="", **more):
        """A page that fails the check when the console or the network complains."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **more})
        page = context.new_page()
        complaints = []
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("requestfailed", lambda r: complaints.append(f"{r.url}: {r.failure}") if "ERR_ABORTED" not in str(r.failure) else None)
        outside = []
        page.on("request", lambda r: outside.append(r.url) if self.host not in r.url and not r.url.startswith("data:") else None)
        try:
            answer = page.goto(self.url + path)
            equal(answer.status, 200, path)
            yield page
            equal(complaints, [], "console")
            equal(outside, [], "asked elsewhere")
        finally:
            context.close()

    def shot(self, page, name):
        page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)


@checks("all pages open without a complaint, in light and dark, wide and narrow")
def _(given):
    for name, more in {
        "light": {"color_scheme": "light"},
        "dark": {"color_scheme": "dark"},
        "phone": {"viewport": {"width": 375, "height": 740}, "has_touch": True},
    }.items():
        for path in PAGES:
            with given.page(path, **more) as page:
                assert page.title(), path
                wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
                assert not wide, f"{path or 'overview'} scrolls sideways on {name}"
                given.shot(page, f"{path or 'overview'}-{name}")


@checks("a replica that joins or leaves shows without a reload")
def _(given):
    with given.page("services") as page:
        page.evaluate("window.stillHere = true")
        with engine.Events() as events:
            given.scale("userservice", 3)
            new = eventually(10, lambda: list(events.started))
            address = engine.address(new[-1])
            page.get_by_text(address).first.wait_for(timeout=15000)
            seen = time.time() - events.started[new[-1]]
        equal(page.evaluate("window.stillHere"), True, "no reload")
        given.shot(page, "joined")
        given.scale("userservice", 2)
        page.get_by_text(address).first.wait_for(state="detached", timeout=20000)
        equal(page.evaluate("window.stillHere"), True, "no reload")
    return f"shown {seen:.2f} s after its start event, docker-compose included"


@checks("a sick replica shows without a reload")
def _(given):
    replica = given.replicas("music-service")[0]
    where = engine.address(replica)
    with given.page("services") as page:
        ask(where, 8081, "/health?up=false", "POST")
        eventually(5, lambda: is_sick(page, where))
        given.shot(page, "sick")
        ask(where, 8081, "/health?up=true", "POST")


def is_sick(page, address):
    """The row of this server says something of being unwell."""
    words = ("unhealthy", "down", "sick", "failing")
    row = page.locator(f"tr:has-text('{address}'), li:has-text('{address}')").first.inner_text().lower()
    return any(word in row for word in words)


@checks("a router's page shows the way of a request: rule, middleware, service, servers, labels")
def _(given):
    with given.page("routers") as page:
        page.get_by_role("link", name="userservice@docker").first.click()
        page.wait_for_url("**/routers/**")
        # Long keys may carry invisible places to break at.
        text = page.locator("body").inner_text().replace("\u200b", "")
        for piece in ("websecure", "/api/users", "userservice-strip", "traefik.http.routers.userservice.rule", "8002"):
            assert piece in text, f"{piece!r} is not on the page"
        given.shot(page, "router")


@checks("everything can be reached with the keyboard, and focus is seen")
def _(given):
    with given.page() as page:
        names = set()
        for _turn in range(25):
            page.keyboard.press("Tab")
            names.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 30) || document.activeElement.tagName"))
            outline = page.evaluate("(s => s.outlineStyle + s.boxShadow)(getComputedStyle(document.activeElement))")
            assert outline != "nonenone" or page.evaluate("document.activeElement === document.body"), f"no focus ring on {names}"
        assert len(names) >= 5, names


@checks("search narrows the list")
def _(given):
    with given.page("routers") as page:
        box = page.get_by_role("searchbox").first
        box.fill("upload")
        box.press("Enter")
        eventually(3, lambda: "userservice@docker" not in page.locator("main").inner_text())
        assert "upload@docker" in page.locator("main").inner_text()


@checks("the pages work without JavaScript")
def _(given):
    with given.page("services", java_script_enabled=False) as page:
        assert "userservice@docker" in page.locator("body").inner_text()


@checks("WCAG AA contrast of all text, light and dark")
def _(given):
    for scheme in ("light", "dark"):
        for path in PAGES:
            with given.page(path, color_scheme=scheme) as page:
                weak = page.evaluate(CONTRAST)
                equal(weak[:3], [], f"{path or 'overview'} {scheme}")


CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
    return .2126 * r + .7152 * g + .0722 * b };
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = c => { if (/^rgba?\\(/.test(c)) return parse(c); canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255] };
  const weak = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const s = getComputedStyle(e);
    if (!own || s.visibility === 'hidden' || !e.getClientRects().length || e.closest('svg')) continue;
    let back = [255, 255, 255, 0], up = e; const layers = [];
    while (up) { layers.push(rgb(getComputedStyle(up).backgroundColor)); up = up.parentElement }
    const base = getComputedStyle(document.documentElement).colorScheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
    back = layers.reverse().reduce((b, l) => over(l, b), base);
    const text = over(rgb(s.color), back);
    const [x, y] = [light(text), light(back)].sort((a, b) => b - a);
    const ratio = (x + .05) / (y + .05), size = parseFloat(s.fontSize), bold = +s.fontWeight >= 700;
    const need = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    if (ratio < need) weak.push(`${e.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)} (${s.color} on ${back.map(Math.round)})`);
  }
  return weak;
}"""


@checks("a picture for the README: the dashboard under load")
def _(given):
    with Load(given.host, 443, "/api/users/", tls=True, pause=0.02), Load(given.host, 443, "/api/music/slow?ms=60", tls=True, pause=0.02):
        with given.page("", color_scheme="light") as page:
            page.wait_for_timeout(12_000)  # plots need some seconds of history
            given.shot(page, "readme")
    if os.environ.get("WHARF_TEST_KEEP_PICTURE"):
        shutil.copy(SHOTS / "readme.png", engine.ROOT / "docs" / "dashboard.png")


if __name__ == "__main__":
    quicker = ("music.loadbalancer.healthcheck.interval=10s", "music.loadbalancer.healthcheck.interval=1s")
    sys.exit(checks.run(Given("musicshare", "browser", edit=[quicker])))
