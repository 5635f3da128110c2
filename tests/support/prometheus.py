"""A Prometheus of the suite's own, which scrapes servers of the suite."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, Process, free_port

ANSWER_SECONDS = 60


def _job(name: str, servers: Iterable[AsgiServer]) -> dict[str, Any]:
    targets = [f"{HOST}:{server.port}" for server in servers]
    return {"job_name": name, "static_configs": [{"targets": targets}]}


class Prometheus(Process):
    """A server that scrapes, each second, the servers of some jobs."""

    def __init__(self, directory: Path, **jobs: Iterable[AsgiServer]) -> None:
        program = shutil.which("prometheus")
        require("Prometheus", program)
        port = free_port()
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [_job(name, servers) for name, servers in jobs.items()],
        }
        directory.mkdir()
        # JSON is YAML too.
        file = directory / "prometheus.yml"
        file.write_text(json.dumps(config))
        super().__init__(
            "Prometheus",
            [
                str(program),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address={HOST}:{port}",
            ],
            port=port,
            log=directory / "log",
            is_ready=self._is_ready,
        )

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/-/ready") as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def query(self, expr: str, at: float | None = None) -> dict[tuple[str, ...], float]:
        """Return the values of a query by those of its labels, in the order of their names."""
        asked = {"query": expr, **({} if at is None else {"time": f"{at:.3f}"})}
        url = f"http://{HOST}:{self.port}/api/v1/query?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return {
            tuple(text for _, text in sorted(each["metric"].items())): float(each["value"][1])
            for each in found
        }

    def await_scrapes(self, number: int, seconds: float = ANSWER_SECONDS) -> float:
        """Wait until each target was scraped so often from now on; return the time then."""
        start, deadline = time.time(), time.time() + seconds
        while time.time() < deadline:
            age = max(1, int((time.time() - start) * 1000))
            found = self.query(f"min(count_over_time(up[{age}ms])) and on () min(up) == 1")
            if found.get((), 0) >= number:
                return time.time()
            time.sleep(0.2)
        raise AssertionError("Prometheus doesn't scrape.")
