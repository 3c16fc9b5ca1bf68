"""The site of the docs: which pages it has, where links lead in it, and what a browser would load."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import goalward
from goalward import runtime, task
from goalward.cli import dispatch
from website import generated, pages

ROOT = Path(__file__).parents[1]
# What a browser fetches when it opens a page, and from which attribute; a link of other kinds it only offers.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """A folder with all pages of the site, in Markdown."""
    folder = tmp_path_factory.mktemp("gathered") / "docs"
    pages.gather(folder)
    generated.write(folder)
    return folder


def test_the_navigation_has_each_page_once(gathered):
    named = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(gathered)) for page in gathered.rglob("*.md"))


def test_links_lead_within_the_site():
    text = "[a](docs/settings.md#presets) ![b](docs/images/ant_curves.png) [c](https://a.b/c) [d](AGENTS.md)"
    moved = "[a](settings.md#presets) ![b](images/ant_curves.png) [c](https://a.b/c) [d](contributing.md)"
    assert pages.relinked(text, "README.md") == moved
    text = "[a](../log.md) [b](../../CHANGELOG.md) [c](../../examples/boat.py) [d](../../examples) [e](#a)"
    moved = "[a](../log.md) [b](../changes.md) [c](../examples.md#examplesboatpy) [d](../examples.md) [e](#a)"
    assert pages.relinked(text, "docs/results/depth.md") == moved


@pytest.mark.parametrize("link", ["Makefile", "docs/nothing.md", "docs", "../else.md"])
def test_a_link_out_of_the_site_is_told(link):
    with pytest.raises(ValueError, match=rf"README\.md leads to {re.escape(link)}, which is no part"):
        pages.relinked(f"[a]({link})", "README.md")


def test_the_page_of_commands_has_the_help_of_each(gathered):
    text = (gathered / "commands.md").read_text()
    assert re.findall(r"^## goalward (.*)$", text, re.MULTILINE) == list(dispatch.COMMANDS)
    assert text.count("usage: goalward ") == len(dispatch.COMMANDS)
    assert all(flag in text for flag in ("--residual-scale", "--env-settings", "--dry-run", "--terminate-when"))


def test_the_page_of_the_api_has_each_public_name(gathered):
    named = re.findall(r"^::: (\S+)$", (gathered / "api.md").read_text(), re.MULTILINE)
    public = {f"{module.__name__}.{name}" for module in (goalward, runtime, task) for name in module.__all__}
    assert set(named) == public | {"goalward.acting.Policy"}


class Page(HTMLParser):
    """What a page of the site offers to be linked to, leads to, and loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and LOADED_LINKS & set(given.get("rel", "").split()):
            self.loaded.append(given["href"])
        if LOADED.get(tag) in given:
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built in a folder of its own; what was printed."""
    out = tmp_path_factory.mktemp("built") / "site"
    line = [sys.executable, "-m", "website", "--out", out]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "warning" not in told.lower(), told
    return out


@pytest.fixture(scope="module")
def read(site):
    """Pages of the site by path, but for the one that a server shows where there is none."""
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


@pytest.mark.system
def test_the_site_has_each_page(gathered, site, read):
    expected = {site / page.relative_to(gathered).with_suffix(".html") for page in gathered.rglob("*.md")}
    assert expected == set(read)
    home = {site / link.partition("#")[0] for link in read[site / "index.html"].links}
    assert expected <= home


@pytest.mark.system
def test_links_of_the_site_lead_somewhere(read):
    for path, page in read.items():
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), (path.name, link)
            if parts.fragment and target in read:
                assert unquote(parts.fragment) in read[target].anchors, (path.name, link)


@pytest.mark.system
def test_pages_of_the_site_load_nothing_from_elsewhere(site, read):
    loaded = {link for page in read.values() for link in page.loaded}
    assert loaded
    assert [link for link in loaded if urlsplit(link).netloc] == []
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"@import|url\([\"']?(?:https?:)?//", sheets) == []


@pytest.mark.system
def test_equations_are_elements_and_commands_are_shown(site):
    concepts = (site / "concepts.html").read_text(encoding="utf-8")
    assert concepts.count("<math") == concepts.count("</math>") > 20
    assert (
        re.findall(r"\$|\\(?:frac|lVert|gamma)", re.sub(r"<script.*?</script>", "", concepts, flags=re.DOTALL))
        == []
    )
    commands = (site / "commands.html").read_text(encoding="utf-8")
    assert all(f"usage: goalward {name} " in commands for name in dispatch.COMMANDS)
