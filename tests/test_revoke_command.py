"""``manage.py revoke_recovery``: whom and what it revokes, its output and its exit status."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from recovery_app import RecoveryManager
from recovery_app.exceptions import TokenSuperseded
from recovery_app.middleware import override_manager
from recovery_app.storages import DatabaseStorage, MemoryStorage, Storage
from tests.clock import FakeClock
from tests.core.support import DownStorage, make_manager
from tests.support.processes import TOP
from tests.support.users import save_for
from tests.test_cleanup_command import command

pytestmark = pytest.mark.django_db
NOTE = "MemoryStorage is limited to one process, so this command can't reach the pages"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> Iterator[RecoveryManager]:
    with make_manager(storage=DatabaseStorage(clock=clock), clock=clock, ttl=300) as made:
        yield made


def revoke(manager: RecoveryManager, *arguments: str, **options: Any) -> str:
    """Run the command and return its output."""
    output = options.pop("stdout", None) or io.StringIO()
    with override_manager(manager):
        call_command("revoke_recovery", *arguments, stdout=output, **options)
    return str(output.getvalue())


def is_revoked(manager: RecoveryManager, token: str) -> bool:
    try:
        manager.take_over(token)
    except TokenSuperseded as error:
        return error.revoked
    return False


@pytest.mark.parametrize("by", ["name", "key", "key alone"])
def test_all_pages_of_one_user_are_revoked(
    manager: RecoveryManager, clock: FakeClock, by: str
) -> None:
    ada, bob = map(User.objects.create_user, ("ada", "bob"))
    mine = [save_for(manager, ada, f"mine {number}") for number in range(2)]
    other = save_for(manager, bob, "other")
    clock.advance(seconds=1)
    arguments = {
        "name": ["--user", "ada"],
        "key": ["--user", str(ada.pk)],
        "key alone": ["--user-pk", str(ada.pk)],
    }
    printed = revoke(manager, *arguments[by])
    assert f"Revoked all pages of user ada (primary key {ada.pk})" in printed
    assert "Each open page is closed within 75 seconds." in printed
    assert [is_revoked(manager, token) for token in (*mine, other)] == [True, True, False]


def test_a_name_precedes_a_key(manager: RecoveryManager, clock: FakeClock) -> None:
    ada = User.objects.create_user("ada")
    named = User.objects.create_user(str(ada.pk))
    tokens = [save_for(manager, user, user.username) for user in (ada, named)]
    clock.advance(seconds=1)
    assert f"{ada.pk} (primary key {named.pk})" in revoke(manager, "--user", str(ada.pk))
    assert [is_revoked(manager, token) for token in tokens] == [False, True]
    revoke(manager, "--user-pk", str(ada.pk))
    assert is_revoked(manager, tokens[0])


def test_a_deleted_user_is_revoked_by_the_key(manager: RecoveryManager, clock: FakeClock) -> None:
    user = User.objects.create_user("ada")
    pk = str(user.pk)
    token = save_for(manager, user, "mine")
    user.delete()
    clock.advance(seconds=1)
    with pytest.raises(CommandError, match=f"'{pk}'.*use --user-pk"):
        revoke(manager, "--user", pk)
    assert not is_revoked(manager, token)
    clock.advance(seconds=1)
    # As a primary key is written, however it is typed.
    printed = revoke(manager, "--user-pk", f"00{pk}")
    assert f"No user has the primary key {pk} now." in printed
    assert f"Revoked all pages of user {pk}:" in printed
    assert is_revoked(manager, token)


def test_a_user_who_may_no_longer_log_in_is_found(manager: RecoveryManager) -> None:
    User.objects.create_user("ada", is_active=False)
    assert "user ada" in revoke(manager, "--user", "ada")


@pytest.mark.parametrize("how", ["id", "hash"])
def test_one_socket_is_revoked(manager: RecoveryManager, clock: FakeClock, how: str) -> None:
    user = User.objects.create_user("ada")
    token, other = save_for(manager, user, "mine"), save_for(manager, user, "other")
    (key,) = [info.socket_hash for info in manager.snapshots(prefix="mine").items]
    printed = revoke(manager, "--socket", {"id": "mine", "hash": key}[how])
    assert f"Revoked socket {key}: its state is deleted" in printed
    assert "it is closed within 75 seconds." in printed
    with pytest.raises(TokenSuperseded):
        manager.save(token, {})
    assert manager.recover(other) == {}
    with pytest.raises(CommandError, match="nothing to revoke"):
        revoke(manager, "--socket", "mine")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user", "nobody"], "No user has the name or the primary key 'nobody'"),
        (["--user", ""], "No user has the name"),
        (["--user", "a\0"], "No user has the name"),
        (["--user", "\udcff"], "No user has the name"),
        (["--user", "9" * 5000], "No user has the name"),
        (["--user-pk", "ada"], "'ada' can't be the primary key of a user"),
        (["--user-pk", ""], "can't be the primary key"),
        (["--socket", "nothing"], "There is nothing to revoke"),
        (["--socket", "0123456789abcdef"], "There is nothing to revoke"),
        (["--socket", "\udcff"], "can't be a socket id"),
        ([], "one of the arguments --user --user-pk --socket is required"),
        (["--user", "ada", "--socket", "one"], "not allowed with"),
    ],
)
def test_bad_input_is_an_error(manager: RecoveryManager, arguments: list[str], said: str) -> None:
    for name in ("ada", "a\0"):
        User.objects.create_user(name)
    output = io.StringIO()
    with pytest.raises(CommandError, match=said):
        revoke(manager, *arguments, stdout=output)
    assert output.getvalue() == ""


def test_several_users_of_one_name(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ada", "bob"):
        User.objects.create_user(name, email="office@example.com")
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    with pytest.raises(CommandError, match="Several users have the name"):
        revoke(manager, "--user", "office@example.com")


def test_json_is_a_single_line(manager: RecoveryManager) -> None:
    user = User.objects.create_user("ada")
    save_for(manager, user, "mine")
    key = manager.snapshots().items[0].socket_hash
    common = {
        "storage": "DatabaseStorage",
        "closes_within_seconds": 75,
        "user_pk": None,
        "username": None,
        "socket_hash": None,
        "revoked": True,
        "note": "",
        "error": "",
    }
    for arguments, expected in (
        (["--user", "ada"], {"user_pk": str(user.pk), "username": "ada"}),
        (["--socket", "mine"], {"socket_hash": key}),
    ):
        (line,) = revoke(manager, "--json", *arguments).splitlines()
        assert json.loads(line) == {**common, **expected}
    output = io.StringIO()
    with pytest.raises(CommandError):
        revoke(manager, "--json", "--user", "bob", stdout=output)
    report = json.loads(output.getvalue())
    assert (report["revoked"], "No user has" in report["error"]) == (False, True)


def test_verbosity_0_prints_nothing(manager: RecoveryManager) -> None:
    User.objects.create_user("ada")
    assert revoke(manager, "--user", "ada", "--verbosity", "0") == ""


def test_a_memory_storage_is_limited_to_this_process(clock: FakeClock) -> None:
    user = User.objects.create_user("ada")
    manager = make_manager(storage=MemoryStorage(clock=clock), clock=clock)
    token = save_for(manager, user, "mine")
    clock.advance(seconds=1)
    assert NOTE in revoke(manager, "--user", "ada")
    assert NOTE in json.loads(revoke(manager, "--user", "ada", "--json"))["note"]
    assert is_revoked(manager, token)


def test_an_outage_is_an_error(clock: FakeClock) -> None:
    User.objects.create_user("ada")
    storage: Storage = DownStorage(clock)
    storage.down = True  # type: ignore[attr-defined]
    manager = make_manager(storage=storage, clock=clock)
    for arguments in (["--user", "ada"], ["--socket", "mine"]):
        output = io.StringIO()
        with pytest.raises(CommandError, match="unavailable") as raised:
            revoke(manager, *arguments, stdout=output)
        assert (raised.value.returncode, output.getvalue()) == (1, "")


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of a project that has no users."""
    return subprocess.run(
        command(path, *arguments), cwd=TOP, capture_output=True, text=True, check=False
    )


def test_a_project_without_a_user_model(tmp_path: Path) -> None:
    path = tmp_path / "db"
    assert run(path, "migrate", "--verbosity", "0").returncode == 0
    unknown = run(path, "revoke_recovery", "--user", "ada")
    assert unknown.returncode == 1
    assert "No user has the name" in unknown.stderr
    assert "Traceback" not in unknown.stderr
    done = run(path, "revoke_recovery", "--user-pk", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Revoked all pages of user 7" in done.stdout


def test_exit_status_after_an_error(tmp_path: Path) -> None:
    done = run(tmp_path / "empty", "revoke_recovery", "--user-pk", "7")
    assert done.returncode == 1
    assert "DatabaseStorage on 'default' is unavailable" in done.stderr
    assert "Traceback" not in done.stderr
