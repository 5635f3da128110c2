"""The example with one more page: the lists of ``docs/frameworks.md``, in three frameworks.

Their files are in the directory ``FRAMEWORKS``, by ``tests/js/frameworks/build.js``.
"""

from __future__ import annotations

import os
from pathlib import Path
from runpy import run_path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.template import engines  # noqa: E402
from django.urls import path  # noqa: E402

from example_project import urls  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402

FILES = Path(os.environ["FRAMEWORKS"])
TITLE = "<title>"
PAGE = (FILES / "templates/list.html").read_text()
assert TITLE in PAGE
# Without an icon, the browser would look for one.
PAGE = PAGE.replace(TITLE, '<link rel="icon" href="data:,">' + TITLE)
MOUNTS = '<script type="module" src="/static/shop/mounts.js"></script>'


def lists_page(request: HttpRequest) -> HttpResponse:
    """Return the page that Django renders, and what mounts the other lists on it."""
    return HttpResponse(engines["django"].from_string(PAGE + MOUNTS).render({}, request))


settings.STATICFILES_DIRS.append(str(FILES / "static"))
urls.urlpatterns.append(path("lists/", lists_page))
consumer: Any = run_path(str(FILES / "shop/consumers.py"))["ListConsumer"].as_asgi()
routes: list[Any] = [path("ws/list/", consumer)]
application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": RecoveryMiddlewareStack(URLRouter(routes)),
    }
)
