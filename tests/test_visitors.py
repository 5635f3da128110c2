"""The cookie of visitors, and the template tags that have pages set it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core import signing
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.template import Context, Template, engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.views.decorators.cache import cache_control, cache_page

from recovery_app import RecoveryManager, get_manager
from recovery_app import __version__ as version
from recovery_app._core.persons import ANONYMOUS, name_user, name_visitor
from recovery_app._visitors import (
    COOKIE_NAME,
    MAX_AGE_SECONDS,
    attach_visitor,
    find_visitor,
    make_visitor,
    read_cookie,
    sign_visitor,
    visitor_of,
)
from recovery_app.middleware import RecoveryMiddleware, ensure_visitor, override_manager
from recovery_app.templatetags import recovery as tags

TAG = "{% load recovery %}{% recovery_script %}"
NEW_KEY = "a new SECRET_KEY of more than fifty characters, as Django asks for"
HOUR = 60 * 60


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(TAG).render({}, request))


async def apage(request: HttpRequest) -> HttpResponse:
    return page(request)


def rendered_late(request: HttpRequest) -> HttpResponse:
    template: Any = engines["django"].from_string(TAG)
    return TemplateResponse(request, template)


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    if "ensure" in request.GET:
        ensure_visitor(request)

    def parts() -> Any:
        yield page(request).content

    return StreamingHttpResponse(parts())


def ensured(request: HttpRequest) -> HttpResponse:
    ensure_visitor(request)
    return HttpResponse("a page made by a script")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no live page")


urlpatterns = [
    path("page/", page),
    path("apage/", apage),
    path("late/", rendered_late),
    path("streamed/", streamed),
    path("ensured/", ensured),
    path("plain/", plain),
    path("public/", cache_control(public=True, max_age=60)(page)),
    path("cached/", cache_page(60)(page)),
    path("cached/late/", cache_page(60)(rendered_late)),
]


@pytest.fixture(autouse=True)
def site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["recovery_app.middleware.RecoveryMiddleware"]
    monkeypatch.setattr(tags, "_warnings_given", set())


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let Django's signer know another time."""

    def set_time(seconds: float) -> None:
        monkeypatch.setattr("django.core.signing.time.time", lambda: seconds)

    return set_time


def visitor_in(client: Client | AsyncClient) -> str | None:
    cookie = client.cookies.get(COOKIE_NAME)
    found = read_cookie(cookie.value) if cookie else None
    return None if found is None else found.id


def owners_in(response: Any) -> list[str]:
    found = re.search(r'data-recovery-owner="([^"]*)"', response.content.decode())
    return found[1].split() if found else []


def owner_of(*names: bytes) -> list[str]:
    return [get_manager().operations.owner_of(name) for name in names]


# Which pages set it, and how.


@pytest.mark.parametrize("url", ["/page/", "/apage/", "/late/", "/ensured/", "/streamed/?ensure"])
def test_pages_that_use_recovery_set_the_cookie(url: str) -> None:
    client = Client()
    response = client.get(url)
    cookie = response.cookies[COOKIE_NAME]
    visitor = visitor_in(client)
    assert visitor is not None
    assert len(visitor) == 22, "16 random bytes"
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert (cookie["max-age"], cookie["secure"], cookie["domain"]) == (MAX_AGE_SECONDS, "", "")
    assert response["Vary"] == "Cookie"
    assert response["Cache-Control"] == "private"
    again = client.get(url)
    assert COOKIE_NAME not in again.cookies
    assert (again["Vary"], again["Cache-Control"]) == ("Cookie", "private")
    assert visitor_in(Client()) is None


@pytest.mark.parametrize("url", ["/page/", "/apage/"])
async def test_the_same_under_asgi(url: str) -> None:
    client = AsyncClient()
    response = await client.get(url)
    assert visitor_in(client) is not None
    assert response["Cache-Control"] == "private"


def test_each_browser_gets_a_cookie_of_its_own() -> None:
    clients = [Client() for _ in range(3)]
    for client in clients:
        client.get("/page/")
    assert len({visitor_in(client) for client in clients}) == 3


def test_other_pages_set_none() -> None:
    response = Client().get("/plain/")
    assert not response.cookies
    assert "Vary" not in response
    assert "Cache-Control" not in response


def test_it_has_the_attributes_of_the_session_cookie(settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    settings.SESSION_COOKIE_DOMAIN = ".example.com"
    settings.SESSION_COOKIE_PATH = "/shop/"
    cookie = Client().get("/page/").cookies[COOKIE_NAME]
    found = {name: cookie[name] for name in ("secure", "samesite", "domain", "path", "httponly")}
    assert found == {
        "secure": True,
        "samesite": "Strict",
        "domain": ".example.com",
        "path": "/shop/",
        "httponly": True,
    }


# Caches.


def test_a_page_is_for_no_shared_cache() -> None:
    response = Client().get("/public/")
    directives = set(response["Cache-Control"].split(", "))
    assert directives == {"private", "max-age=60"}


@pytest.mark.parametrize("url", ["/cached/", "/cached/late/"])
def test_no_cached_page_names_another_visitor(settings: Any, url: str) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    ann, bob = Client(), Client()
    for client in (ann, bob, ann, bob):
        response = client.get(url)
    assert visitor_in(ann) != visitor_in(bob) is not None
    assert owners_in(response)[0] == owner_of(name_visitor(visitor_in(bob) or ""))[0]


# Which cookies count.


def test_an_altered_cookie_counts_as_none() -> None:
    value = sign_visitor(make_visitor())
    for place, character in enumerate(value):
        other = "A" if character != "A" else "B"
        altered = value[:place] + other + value[place + 1 :]
        assert read_cookie(altered) is None, place
    for rubbish in (
        None,
        "",
        ":",
        "::",
        "a:b:c",
        value[:-1],
        value + "A",
        value.upper(),
        "\xff" * 9,
    ):
        assert read_cookie(rubbish) is None


def test_what_django_signed_for_something_else_counts_as_none() -> None:
    signers = (
        signing.TimestampSigner(),
        signing.TimestampSigner(salt="django.contrib.sessions.backends.signed_cookies"),
        signing.get_cookie_signer(salt=COOKIE_NAME),
    )
    for signer in signers:
        assert read_cookie(signer.sign(make_visitor())) is None


def test_browsers_have_cookies_of_this_form_for_a_year() -> None:
    visitor = make_visitor()
    signer = signing.TimestampSigner(salt="recovery_app.visitor")
    assert signer.unsign(sign_visitor(visitor)) == visitor


def test_a_browser_with_a_forged_cookie_gets_another() -> None:
    client = Client()
    client.cookies[COOKIE_NAME] = "mine:1abcde:" + "A" * 43
    client.get("/page/")
    assert visitor_in(client) not in (None, "mine")


def test_it_is_renewed_in_time_and_stays_the_same(at: Callable[[float], None]) -> None:
    start = 1_800_000_000.0
    at(start)
    client = Client()
    client.get("/page/")
    visitor = visitor_in(client)
    at(start + MAX_AGE_SECONDS / 2 - HOUR)
    assert COOKIE_NAME not in client.get("/page/").cookies
    at(start + MAX_AGE_SECONDS / 2 + HOUR)
    assert COOKIE_NAME in client.get("/page/").cookies
    at(start + MAX_AGE_SECONDS + HOUR)
    assert visitor_in(client) == visitor
    at(start + 2 * MAX_AGE_SECONDS)
    assert visitor_in(client) is None
    client.get("/page/")
    assert visitor_in(client) not in (None, visitor)


def test_a_rotated_key_renews_it(settings: Any) -> None:
    client = Client()
    client.get("/page/")
    visitor = visitor_in(client)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = NEW_KEY
    assert COOKIE_NAME not in client.get("/plain/").cookies
    assert COOKIE_NAME in client.get("/page/").cookies
    assert COOKIE_NAME not in client.get("/page/").cookies
    settings.SECRET_KEY_FALLBACKS = []
    assert visitor_in(client) == visitor
    settings.SECRET_KEY = NEW_KEY + "!"
    assert visitor_in(client) is None


# The handshake.


def test_a_handshake_is_read_with_and_without_middleware() -> None:
    visitor = make_visitor()
    value = sign_visitor(visitor)
    header = f"{COOKIE_NAME}={value}".encode()
    scopes: list[dict[str, Any]] = [
        {"cookies": {COOKIE_NAME: value}},
        {"headers": [(b"host", b"a"), (b"cookie", b"a=1; " + header + b"; b=2")]},
        # HTTP/2 may split the header, of which Channels' middleware reads the first.
        {"headers": [(b"cookie", b"a=1"), (b"cookie", header)], "cookies": {"a": "1"}},
    ]
    assert [find_visitor(scope) for scope in scopes] == [visitor] * 3
    scopes = [{}, {"headers": []}, {"cookies": {}}, {"headers": [(b"cookie", b"\xff=\xff")]}]
    assert [find_visitor(scope) for scope in scopes] == [None] * 4


# The script, and the owner.


def request_of(user: Any = None, **cookies: str) -> HttpRequest:
    """Return a request as it is within the middleware."""
    request = RequestFactory().get("/")
    request.COOKIES.update(cookies)
    if user is not None:
        request.user = user
    RecoveryMiddleware(lambda _: HttpResponse())(request)
    attach_visitor(request)
    return request


def render_tag(request: HttpRequest | None, tag: str = TAG, **context: Any) -> str:
    return str(engines["django"].from_string(tag).render(context, request))


def test_the_script() -> None:
    shown = render_tag(request_of())
    assert shown == (
        '<script src="/static/recovery_app/recovery.js" '
        f'data-recovery-version="{version}"></script>'
    )
    module = "{% load recovery %}{% recovery_script module=True %}"
    assert render_tag(request_of(), module).startswith('<script type="module" src="/static/')


def test_a_visitor_who_keeps_the_cookie_is_the_owner() -> None:
    client = Client()
    assert owners_in(client.get("/page/")) == []
    expected = owner_of(name_visitor(visitor_in(client) or ""), ANONYMOUS)
    assert owners_in(client.get("/page/")) == expected


def test_a_user_is_the_owner() -> None:
    user, visitor = User(pk=7), make_visitor()
    shown = render_tag(request_of(user, **{COOKIE_NAME: sign_visitor(visitor)}))
    expected = owner_of(name_user(user.pk), name_visitor(visitor), ANONYMOUS)
    assert f'data-recovery-owner="{" ".join(expected)}"' in shown
    assert f'data-recovery-owner="{expected[0]} ' in render_tag(request_of(user))
    assert "owner" not in render_tag(request_of(AnonymousUser()))


def test_the_owner_is_the_requests_managers() -> None:
    secret = "another secret of thirty-two bytes"
    with RecoveryManager(secret=secret, cleanup_interval=None) as manager:
        with override_manager(manager):
            request = request_of(User(pk=7))
        assert manager.operations.owner_of(name_user(7)) in render_tag(request)


def test_the_owner_alone() -> None:
    tag = '{% load recovery %}<body data-recovery-owner="{% recovery_owner %}">'
    request = request_of(User(pk=7))
    assert owner_of(name_user(7))[0] in render_tag(request, tag)
    visitor = visitor_of(request)
    assert visitor is not None
    response = visitor.finish(HttpResponse())
    assert COOKIE_NAME in response.cookies
    assert render_tag(request_of(), tag) == '<body data-recovery-owner="">'


async def test_a_user_whom_an_async_view_has_not_loaded_leaves_the_owner_open() -> None:
    def load() -> User:
        return User.objects.get(pk=7)

    request = request_of(SimpleLazyObject(load))
    assert "<script src=" in render_tag(request)
    assert "owner" not in render_tag(request)


class LateNonce(SimpleLazyObject):
    """A nonce as Django and django-csp have it: false until it is first written out."""

    def __init__(self) -> None:
        super().__init__(lambda: "the nonce")
        self.__dict__["was_read"] = False

    def __bool__(self) -> bool:
        return False


def test_the_script_has_the_nonce() -> None:
    expected = '<script src="/static/recovery_app/recovery.js" nonce="the nonce" '
    assert render_tag(request_of(), csp_nonce=LateNonce()).startswith(expected)
    for name in ("csp_nonce", "_csp_nonce"):
        request = request_of()
        setattr(request, name, LateNonce())
        assert render_tag(request).startswith(expected)


def test_what_a_page_says_is_escaped() -> None:
    shown = render_tag(request_of(), csp_nonce='"><script>')
    assert shown.count("<script") == 1


# Mistakes.


def test_without_a_request_the_script_is_there_and_a_warning_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        shown = Template(TAG).render(Context())
    assert shown.startswith("<script src=")
    [record] = caplog.records
    assert (record.levelno, record.event) == (logging.WARNING, "visitor_unset")  # type: ignore[attr-defined]
    assert "render(request" in record.getMessage()


def test_without_the_middleware_the_script_is_there_and_a_warning_says_why(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.MIDDLEWARE = []
    for _ in range(2):
        response = Client().get("/page/")
    assert response.content.startswith(b"<script src=")
    [record] = caplog.records
    assert "MIDDLEWARE" in record.getMessage()
    with pytest.raises(ImproperlyConfigured, match="RecoveryMiddleware"):
        Client().get("/ensured/")


def test_a_streamed_page_is_too_late_for_the_cookie_unless_the_view_has_seen_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()
    response = client.get("/streamed/")
    assert b"".join(response.streaming_content).startswith(b"<script src=")  # type: ignore[attr-defined]
    [record] = caplog.records
    assert "ensure_visitor(request)" in record.getMessage()
    assert visitor_in(client) is None
    caplog.clear()
    tags._warnings_given.clear()
    client.get("/page/")
    visitor = name_visitor(visitor_in(client) or "")
    content = b"".join(client.get("/streamed/?ensure").streaming_content)  # type: ignore[attr-defined]
    assert owner_of(visitor)[0].encode() in content
    assert not caplog.records


def test_ensuring_too_late_is_an_error() -> None:
    request = RequestFactory().get("/")
    RecoveryMiddleware(lambda _: HttpResponse())(request)
    with pytest.raises(RuntimeError, match="in the view"):
        ensure_visitor(request)


def test_render_needs_no_context_processor(settings: Any, tmp_path: Any) -> None:
    (tmp_path / "page.html").write_text(TAG)
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]}
    ]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS]
    request = request_of(User(pk=7))
    assert owner_of(name_user(7))[0] in render(request, "page.html").content.decode()


def test_the_nonce_is_the_one_of_the_policy(settings: Any) -> None:
    pytest.importorskip("django.middleware.csp", reason="Django has it from version 6.0 on.")
    settings.MIDDLEWARE = [
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
        *settings.MIDDLEWARE,
    ]
    settings.SECURE_CSP = {"script-src": ["<CSP_NONCE_SENTINEL>"]}
    response = Client().get("/page/")
    found = re.search(r'nonce="([^"]+)"', response.content.decode())
    assert found is not None
    assert response["Content-Security-Policy"] == f"script-src 'nonce-{found[1]}'"
