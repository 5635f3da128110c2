"""Reverse proxies in front of nodes, configured as the example or the documentation has it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.asgi import AsgiServer
from tests.support.databases import program
from tests.support.needs import require
from tests.support.processes import HOST, TOP, Process, free_port

PROXIES = ("nginx", "haproxy", "caddy")
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
_LISTENS = {
    "nginx": ("listen 80;", "listen {host}:{port};"),
    "haproxy": ("bind :80", "bind {host}:{port}"),
    "caddy": (":80 {", "{{\n\tadmin off\n}}\nhttp://{host}:{port} {{"),
}


def example_config() -> str:
    """Return the configuration of the compose file."""
    return (TOP / "example_project/deploy/nginx.conf").read_text()


def documented_config(proxy: str) -> str:
    """Return the configuration in the page on deploys."""
    page = (TOP / "docs/deploys.md").read_text()
    blocks = re.findall(r"^```(?:nginx|text)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (text,) = (block for block in blocks if _LISTENS[proxy][0] in block)
    return str(text)


def make_nginx(home: Path, nodes: Sequence[AsgiServer]) -> Process:
    """Return nginx with the configuration of the compose file, but for the addresses."""
    return make_proxy("nginx", home, nodes, example_config())


def make_proxy(proxy: str, home: Path, nodes: Sequence[AsgiServer], config: str) -> Process:
    """Return one of `PROXIES` with a configuration, but for the addresses."""
    path = program(proxy)
    require(proxy, path)
    port = free_port()
    there, here = _LISTENS[proxy]
    addresses = {there: here.format(host=HOST, port=port)}
    addresses |= {f"web{n}:8000": f"{HOST}:{node.port}" for n, node in enumerate(nodes, start=1)}
    for there, here in addresses.items():
        assert config.count(there) == 1
        config = config.replace(there, here)
    home.mkdir()
    file = home / "deploy.conf"
    file.write_text(config)
    (home / "nginx.conf").write_text(NGINX.format(home=home))
    arguments: dict[str, list[str | Path]] = {
        "nginx": ["-e", "stderr", "-p", home, "-c", home / "nginx.conf"],
        "haproxy": ["-db", "-f", file],
        "caddy": ["run", "--adapter", "caddyfile", "--config", file],
    }
    # Caddy keeps its certificates and its last configuration at home.
    env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}
    command = [str(path), *arguments[proxy]]
    return Process(proxy, command, port=port, log=home / "log", env=env)
