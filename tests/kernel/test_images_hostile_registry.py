"""Registries that lie, limit, or send elsewhere: one clear line, and nothing of it stays."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.images.model import INDEX
from pyctr.core.images.store import ImageStore
from tests.support.forgery import GOOD, Forger
from tests.support.host import Host
from tests.support.images import archive, digest, member

DIGEST = "sha256:" + "a" * 64
BIG = 5 << 20


@pytest.fixture
def forger() -> Iterator[Forger]:
    with Forger() as running:
        yield running


def blob_path(document: dict[str, Any], number: int = 0) -> str:
    return f"/v2/acme/app/blobs/{document['layers'][number]['digest']}"


def wrong_bytes(forger: Forger) -> None:
    document = forger.document([GOOD])
    forger.answers[blob_path(document)] = (200, {}, GOOD[:-1] + b"x")
    forger.tag(document)


def too_long(forger: Forger) -> None:
    document = forger.document([GOOD])
    forger.answers[blob_path(document)] = (200, {}, GOOD + b"more")
    forger.tag(document)


def too_short(forger: Forger) -> None:
    document = forger.document([GOOD])
    forger.answers[blob_path(document)] = (200, {}, GOOD[:2000])
    forger.tag(document)


def missing_layer(forger: Forger) -> None:
    document = forger.document([GOOD])
    del forger.answers[blob_path(document)]
    forger.tag(document)


def lying_digest(forger: Forger) -> None:
    content = json.dumps(forger.document([GOOD])).encode()
    kind = "application/vnd.oci.image.manifest.v1+json"
    forger.answers["/v2/acme/app/manifests/1"] = (200, {"Content-Type": kind, "Docker-Content-Digest": DIGEST}, content)


def escaping(forger: Forger) -> None:
    forger.tag(forger.document([archive([member("../../../etc/owned", "x")])]))


def tagged(document: Callable[[Forger], object], **more: str) -> Callable[[Forger], None]:
    def serve(forger: Forger) -> None:
        forger.tag(document(forger), **more)

    return serve


def changed(**changes: object) -> Callable[[Forger], None]:
    return tagged(lambda forger: {**forger.document([GOOD]), **changes})


def layer_changed(**changes: object) -> Callable[[Forger], None]:
    def document(forger: Forger) -> object:
        found = forger.document([GOOD])
        found["layers"][0] |= changes
        return found

    return tagged(document)


CASES: dict[str, tuple[Callable[[Forger], None], str]] = {
    "wrong bytes": (wrong_bytes, "came as"),
    "a blob that is too long": (too_long, "is longer than"),
    "a blob that is too short": (too_short, "sent 2000 of"),
    "a missing layer": (missing_layer, "answers 404"),
    "a digest that is a lie": (lying_digest, "has the digest"),
    "a layer that escapes": (escaping, "points outside of the layer"),
    "an oversized manifest": (tagged(lambda forger: b"{" + b" " * BIG), "bigger than 4 MiB"),
    "no JSON": (tagged(lambda forger: b"<html>"), "not valid JSON"),
    "cut JSON": (tagged(lambda forger: b'{"schemaVersion":2'), "not valid JSON"),
    "deep JSON": (tagged(lambda forger: b"[" * 100_000), "not valid JSON"),
    "a list": (tagged(lambda forger: b"[]"), "not a JSON object"),
    "HTML's media type": (
        tagged(lambda forger: b'{"schemaVersion":2}', kind="text/html"),
        "has the media type 'text/html'",
    ),
    "two media types": (changed(mediaType=INDEX, manifests=[]), "calls itself"),
    "schema 1": (changed(schemaVersion=1), "schema 1"),
    "no layers": (changed(layers=None), "no list 'layers'"),
    "an artifact": (changed(config={"mediaType": "application/vnd.x", "digest": DIGEST, "size": 2}), "is an artifact"),
    "a digest with a path": (layer_changed(digest="sha256:../../../etc/passwd"), "is not a sha256 digest"),
    "sha512": (layer_changed(digest="sha512:" + "a" * 128), "names a 'sha512' digest"),
    "a negative size": (layer_changed(size=-1), "is no size"),
    "a size that is no number": (layer_changed(size="1"), "is no size"),
    "a foreign layer": (
        layer_changed(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://x/"]),
        "is a foreign one",
    ),
    "an unknown layer": (layer_changed(mediaType="application/x-zip"), "has the media type 'application/x-zip'"),
    "a configuration for fewer layers": (
        tagged(lambda forger: forger.document([GOOD], rootfs={"diff_ids": []})),
        "0 diffIDs for 1 layers",
    ),
    "a wrong diffID": (
        tagged(lambda forger: forger.document([GOOD], rootfs={"diff_ids": [DIGEST]})),
        "really is",
    ),
    "a diffID that is a path": (
        tagged(lambda forger: forger.document([GOOD], rootfs={"diff_ids": ["../../x"]})),
        "has no list of diffIDs",
    ),
    "another system": (tagged(lambda forger: forger.document([GOOD], os="windows")), "is for windows"),
    "an index of nothing": (
        tagged(lambda forger: {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, kind=INDEX),
        "has nothing for",
    ),
    "an empty answer": (tagged(lambda forger: b""), "not valid JSON"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_bad_image_gives_one_line_and_leaves_nothing(bare_host: Host, forger: Forger, case: str) -> None:
    serve, message = CASES[case]
    serve(forger)
    done = bare_host.run("pull", "-q", f"{forger.name}/acme/app:1", check=False)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert done.stderr.count("pyctr:") == 1 and "Traceback" not in done.stderr and done.stdout == ""
    assert len(done.stderr.splitlines()) <= 2
    store = ImageStore(bare_host.paths)
    assert store.list() == [] and store.broken() == []
    left = [path for path in Path(bare_host.paths.root).rglob("*") if path.is_file() and path.stat().st_size]
    kept = {path.name for path in left} - {"index.json", "oci-layout"}
    # a failing connection may leave a configuration that was right; the next collection takes it
    assert all(digest(path.read_bytes())[7:] == path.name for path in left if path.name in kept), kept
    assert not any("layers" in path.parts for path in left) and not Path("/etc/owned").exists()
    assert list(Path(store.root).glob(".ingest/*")) == []


def test_a_failed_pull_leaves_the_image_that_was_there(bare_host: Host, forger: Forger) -> None:
    first = forger.tag(forger.document([GOOD]))
    name = f"{forger.name}/acme/app:1"
    bare_host.run("pull", "-q", name)
    wrong_bytes(forger)
    other = archive([member("other", "x" * 5000)])
    document = forger.document([GOOD, other])
    forger.answers[blob_path(document, 1)] = (200, {}, other[:-1] + b"!")
    forger.tag(document)
    assert bare_host.run("pull", "-q", name, check=False).returncode == 1
    assert ImageStore(bare_host.paths).resolve(name).digest == first


def test_a_rate_limit_is_waited_for_if_it_is_short(bare_host: Host, forger: Forger) -> None:
    forger.tag(forger.document([GOOD]))
    path = "/v2/acme/app/manifests/1"
    forger.answers[path] = [(429, {"Retry-After": "1"}, b""), (503, {}, b""), forger.answers[path]]
    done = bare_host.run("pull", f"{forger.name}/acme/app:1")
    assert "rate limit, trying again in 1 s" in done.stderr and "status 503" in done.stderr
    assert len(forger.asked("manifests/1")) == 3


def test_a_registry_without_ranges_is_read_anew(bare_host: Host, forger: Forger) -> None:
    document = forger.document([GOOD])
    forger.tag(document)
    cut = (200, {"Content-Length": str(len(GOOD)), "Connection": "close"}, b"\0" * 3000)
    forger.answers[blob_path(document)] = [cut, (200, {}, GOOD)]
    done = bare_host.run("pull", f"{forger.name}/acme/app:1")
    assert "going on at byte 3000" in done.stderr
    assert ImageStore(bare_host.paths).list()[0].layers[0].digest == digest(GOOD)


def test_layers_of_an_image_are_downloaded_side_by_side(bare_host: Host, forger: Forger) -> None:
    """Neither is sent before both are asked for."""
    document = forger.document([GOOD, archive([member("second", "2")])])
    both = threading.Barrier(2, timeout=30)
    for number in (0, 1):
        answer = forger.answers[blob_path(document, number)]

        def meet(_: object, answer: object = answer) -> object:
            both.wait()
            return answer

        forger.answers[blob_path(document, number)] = meet
    forger.tag(document)
    bare_host.run("pull", "-q", f"{forger.name}/acme/app:1")
    assert not both.broken and len(forger.asked("/blobs/")) == 3, "the configuration, and each layer once"


def test_a_build_asks_for_newer_bases_when_told_to_and_tells_of_it_as_told(
    bare_host: Host, forger: Forger, tmp_path: Path
) -> None:
    def build(*flags: str) -> subprocess.CompletedProcess[str]:
        return bare_host.run("build", "-t", "made", *flags, str(tmp_path))

    def base() -> str:
        return json.loads(bare_host.run("image", "inspect", "made").stdout)[0]["Config"]["Labels"]["base"]

    (tmp_path / "Dockerfile").write_text(f"FROM {forger.name}/acme/app:1\nCOPY Dockerfile /here\n")
    forger.tag(forger.document([GOOD], config={"Labels": {"base": "old"}}))
    said = build("--progress", "plain")
    assert base() == "old" and "COPY Dockerfile /here" in said.stdout + said.stderr
    forger.tag(forger.document([GOOD], config={"Labels": {"base": "new"}}))
    quiet = build("--progress", "quiet")
    assert base() == "old" and len(quiet.stdout.split()) == 1 and quiet.stderr == ""
    build("--pull")
    assert base() == "new"


def test_what_a_registry_offers_is_listed(bare_host: Host, forger: Forger) -> None:
    forger.tag(forger.document([GOOD]))
    forger.answers["/v2/acme/app/tags/list"] = [
        (200, {"Link": '</v2/acme/app/tags/list?last=1>; rel="next"'}, b'{"tags":["1"]}'),
        (200, {}, b'{"tags":["2"]}'),
    ]
    done = bare_host.run("search", "--list-tags", "--format", "{{.Tag}}", f"{forger.name}/acme/app")
    assert done.stdout == "1\n2\n"
    refused = bare_host.run("search", f"{forger.name}/app", check=False)
    assert refused.returncode == 125 and "offers no search" in refused.stderr
    forger.answers["/v2/_catalog"] = (200, {}, b'{"repositories":["acme/app","other/x"]}')
    assert bare_host.run("search", "--format", "{{.Name}}", f"{forger.name}/app").stdout == f"{forger.name}/acme/app\n"
    hits = {"results": [{"name": "acme/found", "description": "d", "star_count": 3, "is_official": True}]}
    forger.answers["/v1/search"] = (200, {}, json.dumps(hits).encode())
    done = bare_host.run("search", f"{forger.name}/acme")
    assert done.stdout.splitlines()[1].split() == [f"{forger.name}/acme/found", "d", "3", "[OK]"]
    seen = json.loads(bare_host.run("manifest", "inspect", f"{forger.name}/acme/app:1").stdout)
    assert seen["layers"][0]["digest"] == digest(GOOD)
    top = forger.tag(forger.document([GOOD]))
    signature = {"digest": DIGEST, "size": 5, "mediaType": "x", "artifactType": "signature"}
    forger.answers[f"/v2/acme/app/referrers/{top}"] = (200, {}, json.dumps({"manifests": [signature]}).encode())
    assert json.loads(bare_host.run("manifest", "referrers", f"{forger.name}/acme/app:1").stdout) == [signature]
    # a registry without that interface has a tag for them (distribution-spec, "Referrers Tag Schema"), or nothing
    del forger.answers[f"/v2/acme/app/referrers/{top}"]
    assert json.loads(bare_host.run("manifest", "referrers", f"{forger.name}/acme/app:1").stdout) == []
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [signature]}).encode()
    forger.answers[f"/v2/acme/app/manifests/{top.replace(':', '-')}"] = (200, {"Content-Type": kind}, index)
    assert json.loads(bare_host.run("manifest", "referrers", f"{forger.name}/acme/app:1").stdout) == [signature]


def test_a_long_rate_limit_is_said_not_waited_for(bare_host: Host, forger: Forger) -> None:
    forger.answers["/v2/acme/app/manifests/1"] = (429, {"Retry-After": "21600"}, b"")
    done = bare_host.run("pull", f"{forger.name}/acme/app:1", check=False)
    assert "too many requests" in done.stderr and "come back in 360 minutes" in done.stderr
    assert len(forger.asked("manifests/1")) == 1


def bearer(forger: Forger, **token: object) -> None:
    """Ask for tokens from now on, and give them."""
    challenge = f'Bearer realm="http://{forger.name}/token",service="reg",scope="repository:acme/app:pull"'

    def guarded(answer: Any) -> Any:
        def serve(headers: Any) -> Any:
            if headers.get("Authorization") == "Bearer t0ken":
                return answer
            return (401, {"WWW-Authenticate": challenge}, b"")

        return serve

    forger.answers = {path: guarded(answer) for path, answer in forger.answers.items()}
    forger.answers["/token"] = (200, {}, json.dumps(token or {"token": "t0ken", "expires_in": 300}).encode())


def test_a_token_is_fetched_with_the_user_s_password_and_used_for_everything(bare_host: Host, forger: Forger) -> None:
    forger.tag(forger.document([GOOD, archive([member("b", "2")])]))
    bearer(forger)
    bare_host.run("pull", "--creds", "me:secret", f"{forger.name}/acme/app:1")
    [headers] = forger.asked("/token")
    assert headers["authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert "service=reg&scope=repository%3Aacme%2Fapp%3Apull" in next(
        path for path, _ in forger.requests if "/token" in path
    )
    assert all("secret" not in str(headers) for path, headers in forger.requests if "/token" not in path)


def test_without_a_password_a_token_is_asked_for_all_the_same(bare_host: Host, forger: Forger) -> None:
    forger.tag(forger.document([GOOD]))
    bearer(forger, access_token="t0ken")
    bare_host.run("pull", f"{forger.name}/acme/app:1")
    assert "authorization" not in forger.asked("/token")[0]


def test_a_token_that_is_not_believed_is_one_line(bare_host: Host, forger: Forger) -> None:
    forger.tag(forger.document([GOOD]))
    bearer(forger, token="stale")
    done = bare_host.run("pull", f"{forger.name}/acme/app:1", check=False)
    assert "wants a login" in done.stderr and len(forger.asked("manifests")) <= 2


def test_credentials_do_not_follow_a_redirect(bare_host: Host, forger: Forger) -> None:
    with Forger() as elsewhere:
        document = forger.document([GOOD])
        forger.tag(document)
        where = blob_path(document)
        elsewhere.answers[where] = forger.answers[where]
        forger.answers[where] = (307, {"Location": f"http://{elsewhere.name}{where}?signed=yes"}, b"")
        bearer(forger)
        bare_host.run("pull", "--creds", "me:secret", f"{forger.name}/acme/app:1")
        [headers] = elsewhere.asked(document["layers"][0]["digest"])
        assert "authorization" not in headers
        forger.answers[where] = (307, {"Location": where}, b"")
        bare_host.run("rmi", f"{forger.name}/acme/app:1")
        done = bare_host.run("pull", f"{forger.name}/acme/app:1", check=False)
        assert "redirects in circles" in done.stderr


def test_text_from_a_registry_cannot_act_on_the_terminal(bare_host: Host, forger: Forger) -> None:
    body = json.dumps({"errors": [{"message": "\x1b]0;owned\x07 no"}]}).encode()
    forger.answers["/v2/acme/app/manifests/1"] = (400, {}, body)
    done = bare_host.run("pull", f"{forger.name}/acme/app:1", check=False)
    assert "\x1b" not in done.stderr and "\\x1b]0;owned" in done.stderr


def test_a_proxy_is_used_except_for_this_machine(bare_host: Host, forger: Forger) -> None:
    bare_host.env["HTTP_PROXY"] = bare_host.env["HTTPS_PROXY"] = "http://127.0.0.1:1"
    forger.tag(forger.document([GOOD]))
    bare_host.run("pull", f"{forger.name}/acme/app:1")
    bare_host.env["HTTP_PROXY"] = f"http://{forger.name}"
    forger.answers["http://registry.invalid/v2/"] = (200, {}, b"{}")
    forger.answers["http://registry.invalid/v2/acme/app/manifests/1"] = forger.answers["/v2/acme/app/manifests/1"]
    done = bare_host.run("pull", "--tls-verify=false", "registry.invalid/acme/app:1", check=False)
    assert any(path.startswith("http://registry.invalid/v2/") for path, _ in forger.requests), done.stderr
