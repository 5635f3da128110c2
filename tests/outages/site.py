"""A site that is watched: its nodes, the pages that people have open, and the operator's login."""

from __future__ import annotations

import asyncio
import http.cookiejar
import re
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import unescape

from tests.support.asgi import AsgiServer
from tests.support.processes import HOST, Process
from tests.support.redis import client
from tests.support.timelapse import (
    ANSWER_SECONDS,
    Expectations,
    Page,
    Recorder,
    all_of,
    status_of,
)

PAGES = 24
MINUTE = 4
"""Scrapes in a minute."""
WAIT_SECONDS = 60
USER, PASSWORD = "ada", "open-sesame"
APPLICATION = "tests.support.draining:application"
SETTINGS = "tests.outages.settings"

Start = Callable[..., AsgiServer]


@dataclass
class Site:
    """Servers that are watched, and the pages that people have open."""

    servers: list[AsgiServer]
    pages: list[Page]
    url: str
    recorder: Recorder = field(default_factory=Recorder)
    expected: Expectations = field(default_factory=Expectations)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def now(self) -> int:
        """The number of the last scrape."""
        return self.recorder.scrapes

    async def live(self, minutes: float) -> None:
        """Have each page send an event between two scrapes, for so long."""
        for _ in range(int(minutes * MINUTE)):
            await all_of(self.pages, "add")
            await self.scrape()

    async def wait(self, minutes: float) -> None:
        """Let time pass in which nobody does anything."""
        for _ in range(int(minutes * MINUTE)):
            await self.scrape()

    async def come_back(self, pages: Sequence[Page] | None = None) -> Counter[str]:
        """Have pages reconnect, all by default; return how many had each outcome, "" for none."""
        some = self.pages if pages is None else pages
        are_in = await all_of(some, "come_back", self.url)
        return Counter(
            page.outcome if is_in else "" for page, is_in in zip(some, are_in, strict=True)
        )

    async def cut(self) -> None:
        """Cut all pages off."""
        await all_of(self.pages, "cut")

    async def gone(self) -> None:
        """Wait until the servers know of no connection and of no topic."""
        await self.none("topics_open", "connections_open")

    async def none(self, *names: str) -> None:
        """Wait until these figures are 0.

        Servers learn later than the pages do that a connection was cut, through a proxy above all.
        """
        await self.until(lambda: not any(map(self.figure, names)))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until that is so of the figures; no sample is recorded."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            self.figures = await asyncio.to_thread(Recorder().scrape, self.servers)
            if is_so():
                return
            assert asyncio.get_running_loop().time() < deadline, self.figures
            await asyncio.sleep(0.05)

    async def scrape(self) -> None:
        """Have the servers scraped."""
        self.figures = await asyncio.to_thread(self.recorder.scrape, self.servers)

    def figure(self, name: str) -> float:
        """Return a sample, added up over its labels and the servers."""
        prefix = f"golivekit_recovery_{name}{{"
        return sum(v for key, v in self.figures.items() if key.startswith(prefix))

    def probe(self, name: str) -> tuple[int, str]:
        """Return the status and the text of an endpoint of the first server."""
        return status_of(f"{self.servers[0].url}/health/{name}/")

    def output(self) -> str:
        """Return what all servers have logged."""
        return "".join(server.output() for server in self.servers)


def make_node(
    start: Start, *arguments: str, redis: Process | None = None, **env: str
) -> AsgiServer:
    """Start a node."""
    url = f"redis://site:secret@{HOST}:{redis.port}/0?timeout=1" if redis else ""
    env = {
        "REDIS_URL": url,
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DRAIN_SECONDS": "0.5",
        **env,
    }
    return start(application=APPLICATION, env=env, arguments=arguments)


def set_password(redis: Process, password: str = "secret") -> None:
    """Give the site's own user a password, who isn't the tests'."""
    with client(redis.port) as connection:
        rule = ["ON", "RESETPASS", f">{password}", "~*", "&*", "+@all"]
        connection.execute_command("ACL", "SETUSER", "site", *rule)


class Operator:
    """Somebody who looks into the admin."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._cookies = http.cookiejar.CookieJar()
        cookies = urllib.request.HTTPCookieProcessor(self._cookies)
        self._opener = urllib.request.build_opener(cookies)

    def log_in(self) -> None:
        """Log in as the one user that there is."""
        page = self.get("/admin/login/")
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
        form = {"username": USER, "password": PASSWORD, "csrfmiddlewaretoken": token}
        self.get("/admin/login/?next=/admin/jsi18n/", urllib.parse.urlencode(form).encode())
        assert self.session

    @property
    def session(self) -> str:
        """The cookie header of the login, "" before it."""
        found = [f"{each.name}={each.value}" for each in self._cookies if each.name == "sessionid"]
        return "".join(found)

    def get(self, path: str, data: bytes | None = None) -> str:
        """Return the text of a page."""
        with self._opener.open(f"{self._url}{path}", data, timeout=ANSWER_SECONDS) as response:
            return unescape(response.read().decode())

    def journal(self, **params: str) -> list[str]:
        """Return the rows of the journal that a search finds, as text."""
        page = self.get(f"/admin/recovery_app/journalentry/?{urllib.parse.urlencode(params)}")
        body = page.partition('id="result_list"')[2].partition("</table>")[0]
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body.partition("<tbody")[2], re.DOTALL)
        return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]
