"""The files of the client, as Django's storage with hashes in the names serves them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.base import ContentFile

from tests.support.processes import TOP

DIRECTORY = TOP / "recovery_app" / "static"


class JavaScriptModules(ManifestStaticFilesStorage):
    """Also rewrites imports, as a project may have it."""

    support_js_module_import_aggregation = True


@pytest.mark.parametrize("kind", [ManifestStaticFilesStorage, JavaScriptModules])
def test_each_file_can_be_served_under_a_name_with_a_hash(
    tmp_path: Path, kind: type[ManifestStaticFilesStorage]
) -> None:
    storage = kind(location=tmp_path, base_url="/static/")
    paths = {}
    for path in (path for path in DIRECTORY.rglob("*") if path.is_file()):
        name = str(path.relative_to(DIRECTORY))
        paths[name] = (storage, name)
        storage.save(name, ContentFile(path.read_bytes()))
    for _, _, processed in storage.post_process(paths):
        assert not isinstance(processed, Exception)
    assert set(storage.hashed_files) == set(paths)

    script = storage.stored_name("recovery_app/recovery.min.js")
    text = (tmp_path / script).read_text()
    (source_map,) = re.findall(r"\n//# sourceMappingURL=(\S+)\s*$", text)
    assert storage.exists(f"recovery_app/{source_map}")
    assert source_map != "recovery.min.js.map"
