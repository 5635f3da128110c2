"""nginx in front of nodes, with a configuration from the example or from the documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.asgi import AsgiServer
from tests.support.databases import program
from tests.support.needs import require
from tests.support.processes import HOST, TOP, Process, free_port

NGINX = """
daemon off;
pid {home}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/deploy.conf;
}}
"""


def example_config() -> str:
    """Return the configuration of the compose file."""
    return (TOP / "example_project/deploy/nginx.conf").read_text()


def documented_config() -> str:
    """Return the configuration in the page on deploys."""
    (text,) = re.findall(
        r"^```nginx\n(.*?)^```", (TOP / "docs/deploys.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return str(text)


def make_nginx(home: Path, nodes: Sequence[AsgiServer], config: str | None = None) -> Process:
    """Return nginx with a configuration, the example's by default, but for the addresses."""
    path = program("nginx", "/usr/sbin")
    require("nginx", path)
    port = free_port()
    text = example_config() if config is None else config
    addresses = {"listen 80;": f"listen {HOST}:{port};"}
    addresses |= {f"web{n}:8000": f"{HOST}:{node.port}" for n, node in enumerate(nodes, start=1)}
    for there, here in addresses.items():
        assert text.count(there) == 1
        text = text.replace(there, here)
    home.mkdir()
    (home / "deploy.conf").write_text(text)
    (home / "nginx.conf").write_text(NGINX.format(home=home))
    command: list[str | Path] = [path or "nginx", "-e", "stderr", "-p", home, "-c"]
    return Process("nginx", [*command, home / "nginx.conf"], port=port, log=home / "log")
