"""Downloads against a server on this machine that breaks off, lies, refuses and dawdles."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
from huggingface_hub import constants
from rich.console import Console

from rival_jax.weights import Config, download, pages, read_tensors, transfer
from rival_jax.weights.catalogue import Entry, find
from rival_jax.weights.download import fetch

DATA = bytes(i * i % 251 for i in range(300_000))
SHA = hashlib.sha256(DATA).hexdigest()
VARIABLES = ("RIVAL_JAX_OFFLINE", "HF_HUB_OFFLINE", "RIVAL_JAX_MIRROR", "HF_ENDPOINT")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; each request takes the next of `server.moods`, if there are any."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server, path = self.server, urllib.parse.unquote(self.path).lstrip("/")
        asked = self.headers["Range"] or ""
        server.seen.append((self.command, path, asked))
        mood = server.moods.pop(0) if server.moods and body else {}
        if "to" in mood:
            path = mood["to"]
            return self.refuse({"status": 302, "Location": f"{server.url}/{path}"})
        if "status" in mood or path not in server.files:
            return self.refuse(mood)
        data, tag = server.files[path]
        start, status = 0, 200
        if server.ranges and asked and self.headers["If-Range"] in (None, tag):
            start, status = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]), 206
        if status == 206 and start >= len(data):
            return self.refuse({"status": 416, "Content-Range": f"bytes */{len(data)}"})
        self.send_response(status)
        self.headers_of(data, start, status, tag)
        if body:
            self.body(data[start:], mood)
        return None

    def headers_of(self, data, start, status, tag):
        if self.server.sized:
            self.send_header("Content-Length", str(len(data) - start))
        else:
            self.close_connection = True
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if tag:
            self.send_header("ETag", tag)
        for name, value in self.server.more.items():
            self.send_header(name, value)
        self.end_headers()

    def body(self, data, mood):
        part = data[: mood.get("cut", len(data))]
        if "until" in mood:
            mood["until"].wait(60)
        for i in range(0, len(part), 10_000):
            self.wfile.write(part[i : i + 10_000])
            self.server.sent += len(part[i : i + 10_000])
            time.sleep(mood.get("pause", 0))
        if "cut" in mood:
            time.sleep(mood.get("hang", 0))
            self.close_connection = True

    def refuse(self, mood):
        self.send_response(mood.get("status", 404))
        for name in ("Retry-After", "Content-Range", "Location"):
            if name in mood:
                self.send_header(name, mood[name])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.moods, self.seen, self.more = {}, [], [], {}
        self.ranges, self.sized, self.sent = True, True, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # a client that went away


@pytest.fixture
def server():
    server = Server()
    server.files["models/net.pth"] = (DATA, '"one"')
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Nobody's settings, an empty cache, and no waiting."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(transfer, "WAITS", (0.0, 0.0, 0.0))


def entry_of(server, sha256=SHA, **fields) -> Entry:
    source = f"{server.url}/models/net.pth" if server else "https://publisher.invalid/net.pth"
    return Entry(
        **{"name": "lab/net.v1.pth", "source": source, "file": "net.pth", "sha256": sha256}
        | {"config": Config(), **fields}
    )


def quiet() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def asked(server) -> list[str]:
    return [span for _, _, span in server.seen]


def test_a_file_arrives_once_and_its_hash_beside_it(server, tmp_path):
    console = quiet()
    folder = fetch(entry_of(server), console=console)
    assert folder == tmp_path / "cache/models/lab/net.v1"
    assert (folder / "net.pth").read_bytes() == DATA
    assert (folder / "net.pth.sha256").read_text() == f"{SHA}  net.pth\n"
    assert names(folder) == ["net.pth", "net.pth.sha256"]
    assert console.file.getvalue() == "", "no terminal, nothing slow: nothing to say"
    assert fetch(entry_of(server)) == folder
    assert len(server.seen) == 1


@pytest.mark.parametrize("sha256", [SHA, SHA[:8], ""])
def test_a_download_goes_on_where_it_broke_off(server, sha256):
    server.moods = [{"cut": 100_000}, {"cut": 50_000}, {"cut": 0}]
    console = quiet()
    folder = fetch(entry_of(server, sha256), console=console)
    assert (folder / "net.pth").read_bytes() == DATA
    assert asked(server) == ["", "bytes=100000-", "bytes=150000-", "bytes=150000-"]
    assert server.sent == len(DATA)
    assert "broke off at 100,000 of 300,000 bytes; trying again" in console.file.getvalue()
    assert names(folder) == ["net.pth", "net.pth.sha256"]


def test_tries_do_not_run_out_while_something_arrives(server):
    server.moods = [{"cut": 20_000} for _ in range(10)]
    folder = fetch(entry_of(server), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert len(server.seen) == 11


@pytest.mark.parametrize("sha256", [SHA, ""])
def test_the_next_call_goes_on_too(server, sha256, tmp_path):
    server.moods = [{"cut": 120_000}, *({"cut": 0} for _ in range(4))]
    with pytest.raises(ConnectionError, match=r"4 times in a row\. 120,000 bytes arrived and are"):
        fetch(entry_of(server, sha256), console=quiet())
    partial = tmp_path / "cache/models/lab/net.v1/net.pth.partial"
    assert partial.read_bytes() == DATA[:120_000]
    folder = fetch(entry_of(server, sha256), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert server.sent == len(DATA)


def test_a_download_goes_on_behind_a_redirection(server):
    server.files["cdn/x"] = server.files.pop("models/net.pth")
    server.moods = [{"to": "cdn/x"}, {"cut": 100_000}, {"to": "cdn/x"}]
    folder = fetch(entry_of(server, ""), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert asked(server) == ["", "", "bytes=100000-", "bytes=100000-"]


def test_a_server_that_does_not_say_how_long_the_file_is(server):
    server.sized = False
    folder = fetch(entry_of(server), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA


def test_a_server_without_ranges_starts_anew(server):
    server.ranges, server.moods = False, [{"cut": 100_000}]
    folder = fetch(entry_of(server), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert server.sent == len(DATA) + 100_000


@pytest.mark.parametrize("tag", ['"two"', ""])
def test_another_file_under_the_same_address_is_not_glued_on(server, tag):
    """Of unknown hash, so nothing else would notice."""
    server.files["models/net.pth"] = (b"x" * 200_000, '"one"' if tag else "")
    server.moods = [{"cut": 120_000}, *({"status": 503} for _ in range(4))]
    with pytest.raises(ConnectionError):
        fetch(entry_of(server, ""), console=quiet())
    server.files["models/net.pth"] = (DATA, tag)
    folder = fetch(entry_of(server, ""), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA


def test_all_was_there_but_its_name(server, tmp_path):
    folder = tmp_path / "cache/models/lab/net.v1"
    folder.mkdir(parents=True)
    (folder / "net.pth.partial").write_bytes(DATA)
    assert (fetch(entry_of(server)) / "net.pth").read_bytes() == DATA
    assert server.sent == 0


def test_more_was_there_than_there_is(server, tmp_path):
    folder = tmp_path / "cache/models/lab/net.v1"
    folder.mkdir(parents=True)
    (folder / "net.pth.partial").write_bytes(DATA + b"more")
    assert (fetch(entry_of(server)) / "net.pth").read_bytes() == DATA


@pytest.mark.parametrize("sha256", ["0" * 64, "0" * 8])
def test_a_wrong_hash_keeps_nothing(server, sha256, tmp_path):
    with pytest.raises(ValueError, match=f"sha256 {SHA}, expected {sha256}.*Nothing was kept"):
        fetch(entry_of(server, sha256), console=quiet())
    assert names(tmp_path / "cache/models/lab/net.v1") == []


@pytest.mark.parametrize(
    ("status", "kind"), [(404, FileNotFoundError), (410, FileNotFoundError), (403, PermissionError)]
)
def test_a_refusal_says_what_to_put_where(server, status, kind, tmp_path):
    server.moods = [{"status": status}]
    with pytest.raises(kind) as error:
        fetch(entry_of(server), console=quiet())
    path = tmp_path / "cache/models/lab/net.v1/net.pth"
    assert f"the server answers {status}" in str(error.value)
    assert f"save {server.url}/models/net.pth (sha256 {SHA}) as {path};" in str(error.value)
    assert len(server.seen) == 1


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(server, monkeypatch):
    waited = []
    monkeypatch.setattr(transfer.time, "sleep", waited.append)
    monkeypatch.setattr(transfer, "WAITS", (1.0, 2.0, 4.0))
    server.moods = [
        {"status": 503},
        {"status": 429, "Retry-After": "7"},
        {"status": 500, "Retry-After": "9999"},
    ]
    folder = fetch(entry_of(server), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert [wait for wait in waited if wait] == [1.0, 7.0, 60.0]


def test_a_server_that_falls_silent_is_asked_again(server, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE", 0.2)
    server.moods = [{"cut": 90_000, "hang": 30}]
    began = time.monotonic()
    folder = fetch(entry_of(server), console=quiet())
    assert time.monotonic() - began < 15
    assert (folder / "net.pth").read_bytes() == DATA
    assert asked(server) == ["", "bytes=90000-"]


def test_nobody_there(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(
        ConnectionError, match=r"efused, 4 times in a row\..*To place it by hand, save"
    ):
        fetch(entry_of(server), console=quiet())


def test_no_room(server, monkeypatch, tmp_path):
    usage = transfer.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"no room for net\.pth: 300,000 .* set RIVAL_JAX_CACHE to a"):
        fetch(entry_of(server), console=quiet())
    assert server.sent < len(DATA)


@pytest.mark.parametrize("variable", ["RIVAL_JAX_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline_asks_nobody(server, variable, monkeypatch, tmp_path):
    if variable:
        monkeypatch.setenv(variable, "1")
    offline = None if variable else True
    with pytest.raises(FileNotFoundError, match=r"'lab/net\.v1\.pth' is not here: .*switched off"):
        fetch(entry_of(server), offline=offline)
    assert not server.seen
    assert not (tmp_path / "cache").exists()
    folder = fetch(entry_of(server), offline=False, console=quiet())
    assert fetch(entry_of(server), offline=offline) == folder


def test_offline_message_of_a_network_of_the_hub(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        fetch("vit_tiny", offline=True)
    name = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    path = tmp_path / f"cache/models/{name}/model.safetensors"
    url = f"https://huggingface.co/{name}/resolve/main/model.safetensors"
    assert f"save {url} as {path}; or name a mirror" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"config\.json as .*\(did you mean 'resnet50' or"):
        fetch("mylab/resnt50", offline=True)


@pytest.mark.parametrize("kind", ["folder", "folder/", "server", "server/"])
def test_a_mirror_is_laid_out_as_the_cache(server, kind, tmp_path, monkeypatch):
    entry = entry_of(None)
    if kind.startswith("folder"):
        place = tmp_path / "mirror" / "lab" / "net.v1" / "net.pth"
        place.parent.mkdir(parents=True)
        place.write_bytes(DATA)
        mirror = kind.replace("folder", str(tmp_path / "mirror"))
    else:
        server.files["all models/lab/net.v1/net.pth"] = (DATA, '"one"')
        mirror = kind.replace("server", f"{server.url}/all models")
    monkeypatch.setenv("RIVAL_JAX_MIRROR", mirror)
    folder = fetch(entry, console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert fetch(entry, mirror=mirror, cache=str(tmp_path / "other")) != folder


def test_a_cache_is_a_mirror_for_others(server, tmp_path):
    """And its recorded hashes are checked, for files of which the table has none."""
    entry = entry_of(server, "")
    first = fetch(entry, console=quiet())
    mirror = str(tmp_path / "cache/models")
    assert fetch(entry, mirror=mirror, console=quiet(), cache=str(tmp_path / "two")) != first
    assert len(server.seen) == 1
    (first / "net.pth").write_bytes(DATA[:-1])
    with pytest.raises(ValueError, match=rf"expected {SHA}\. Nothing was kept"):
        fetch(entry, mirror=mirror, console=quiet(), cache=str(tmp_path / "three"))


def test_a_page_about_a_missing_hash_is_no_hash(server, tmp_path):
    server.files["m/lab/net.v1/net.pth"] = (DATA, '"one"')
    server.files["m/lab/net.v1/net.pth.sha256"] = (b"<html> not here " * 10, "")
    folder = fetch(entry_of(server, ""), mirror=f"{server.url}/m", console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA


def test_a_mirror_that_lacks_a_file_says_so(server, tmp_path):
    for mirror in (str(tmp_path / "mirror"), f"{server.url}/mirror"):
        with pytest.raises(FileNotFoundError) as error:
            fetch("resnet50", mirror=mirror, console=quiet())
        assert f"{mirror}/torchvision/resnet50.IMAGENET1K_V1/resnet50-0676" in str(error.value)
        assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in str(error.value)


def test_a_file_placed_by_hand_is_checked_once(server, tmp_path, monkeypatch):
    folder = tmp_path / "cache/models/lab/net.v1"
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(DATA[::-1])
    with pytest.raises(ValueError, match=rf"expected {SHA}\. Delete it, to have it fetched again"):
        fetch(entry_of(server), offline=True)
    (folder / "net.pth").write_bytes(DATA)
    assert fetch(entry_of(server), offline=True) == folder
    monkeypatch.setattr(transfer.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert fetch(entry_of(server), offline=True) == folder
    monkeypatch.undo()
    later = time.time() + 10
    (folder / "net.pth").write_bytes(DATA[::-1])
    os.utime(folder / "net.pth", (later, later))
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="Delete it"):
        fetch(entry_of(server), offline=True)


def test_progress_on_a_terminal(server):
    server.moods = [{"pause": 0.01}]
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    fetch(entry_of(server), console=console)
    text = console.file.getvalue()
    assert "net.pth of 300,000 bytes" in text
    assert re.search(r"100 %.*kB/s", text)


def in_other_process(server, cache):
    code = (
        "import sys\n"
        "from rival_jax.weights import Config\n"
        "from rival_jax.weights.catalogue import Entry\n"
        "from rival_jax.weights.download import fetch\n"
        "e = Entry(name='lab/net.v1.pth', source=sys.argv[1] + '/models/net.pth',\n"
        "          file='net.pth', config=Config())\n"
        "print('ready', flush=True)\n"
        "print(fetch(e, cache=sys.argv[2]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, server.url, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_fetch_it_once(server, tmp_path):
    both_came = threading.Event()
    server.moods = [{"until": both_came}]
    others = [in_other_process(server, tmp_path / "cache") for _ in range(2)]
    assert [other.stdout.readline() for other in others] == ["ready\n"] * 2
    said, readers = ([], []), []
    for other, lines in zip(others, said, strict=True):
        readers.append(threading.Thread(target=told, args=(other.stderr, lines, both_came)))
        readers[-1].start()
    folder = Path(others[0].stdout.read().strip())
    assert [other.wait(120) for other in others] == [0, 0], said
    for other, reader in zip(others, readers, strict=True):
        reader.join()
        other.communicate()
    assert (folder / "net.pth").read_bytes() == DATA
    assert names(folder) == ["net.pth", "net.pth.sha256"]
    assert server.sent == len(DATA)
    assert sum(WAITS in "".join(lines) for lines in said) == 1


WAITS = "waiting for another process"


def told(stream, lines, waits):
    """Keeps what a process says; `waits` is set when it says that it does."""
    for line in stream:
        lines.append(line)
        if WAITS in line:
            waits.set()


@pytest.mark.whole
def test_a_killed_process_leaves_what_it_had(server, tmp_path):
    server.moods = [{"pause": 0.1}]
    other = in_other_process(server, tmp_path / "cache")
    partial = tmp_path / "cache/models/lab/net.v1/net.pth.partial"
    until = time.monotonic() + 60
    while (not partial.exists() or partial.stat().st_size < 50_000) and time.monotonic() < until:
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    folder = fetch(entry_of(server, ""), console=quiet())
    assert (folder / "net.pth").read_bytes() == DATA
    assert int(re.fullmatch(r"bytes=(\d+)-", asked(server)[-1])[1]) >= 50_000


def test_threads_do_not_get_in_each_others_way(server):
    server.moods = [{"pause": 0.02}]
    folders = []
    work = lambda: folders.append(fetch(entry_of(server), console=quiet()))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert server.sent == len(DATA)
    assert (folders[0] / "net.pth").read_bytes() == DATA


@pytest.fixture
def hub(server, monkeypatch):
    """The server as a model hub."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.more = {"X-Repo-Commit": "c" * 40}
    return server


def on_hub(hub, repository, *, sha256=SHA, config=True):
    hub.files[f"{repository}/resolve/main/model.safetensors"] = (DATA, f'"{sha256}"')
    hub.files[f"{repository}/resolve/{'c' * 40}/model.safetensors"] = (DATA, f'"{sha256}"')
    if config:
        hub.files[f"{repository}/resolve/main/config.json"] = (b"{}", f'"{"b" * 40}"')
        hub.files[f"{repository}/resolve/{'c' * 40}/config.json"] = (b"{}", f'"{"b" * 40}"')


def test_a_network_of_the_hub(hub, tmp_path):
    name = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    on_hub(hub, name)
    folder = fetch("vit_tiny", console=quiet())
    assert folder == tmp_path / "cache/models" / name
    assert (folder / "model.safetensors").read_bytes() == DATA
    assert (folder / "model.safetensors.sha256").read_text().startswith(SHA)
    count = len(hub.seen)
    assert fetch("vit_tiny") == folder
    assert len(hub.seen) == count


def test_a_repository_that_is_not_in_the_table_needs_its_config(hub):
    on_hub(hub, "mylab/our_vit")
    folder = fetch("mylab/our_vit", console=quiet())
    assert (folder / "config.json").read_text() == "{}"
    on_hub(hub, "mylab/bare", config=False)
    with pytest.raises(FileNotFoundError, match=r"the hub has no config\.json in mylab/bare \("):
        fetch("mylab/bare", console=quiet())


def test_a_file_of_the_hub_whose_hash_is_another_one(hub, tmp_path):
    on_hub(hub, "mylab/our_vit", sha256="e" * 64)
    with pytest.raises(
        ValueError, match=f"has sha256 {SHA}, expected {'e' * 64}. Nothing was kept"
    ):
        fetch("mylab/our_vit", console=quiet())
    assert "model.safetensors" not in names(tmp_path / "cache/models/mylab/our_vit")


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("RepoNotFound", FileNotFoundError, "no repository mylab/resnt50, or .*'resnet50' or"),
        ("GatedRepo", PermissionError, "accepted its terms: .*hf auth login"),
        ("EntryNotFound", FileNotFoundError, r"no model.safetensors in mylab/resnt50\."),
    ],
)
def test_what_the_hub_refuses(hub, code, kind, message, monkeypatch):
    def refuse(self, mood):
        self.send_response(404 if code == "EntryNotFound" else 401)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    monkeypatch.setattr(Handler, "refuse", refuse)
    with pytest.raises(kind, match=message):
        fetch("mylab/resnt50", console=quiet())


def test_a_hub_that_cannot_be_reached(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.shutdown()
    hub.server_close()
    with pytest.raises(ConnectionError, match=r"hub cannot be reached.*To place it by hand, save"):
        fetch("mylab/our_vit", console=quiet())


def test_what_the_hubs_own_client_has_is_used(tmp_path, monkeypatch):
    entry = find("mylab/our_vit")
    snapshot = tmp_path / "hub/models--mylab--our_vit/snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs/main").write_text("c" * 40)
    (snapshot / "model.safetensors").write_bytes(DATA)
    assert download.cached(entry) is None
    (snapshot / "config.json").write_text("{}")
    assert download.cached(entry) == snapshot
    assert fetch("mylab/our_vit", offline=True) == snapshot


def test_a_certificate_that_is_not_trusted_is_not_asked_again(monkeypatch):
    tries = []

    def distrust(*args, **kwargs):
        tries.append(1)
        raise transfer.urllib.error.URLError(transfer.ssl.SSLCertVerificationError("self-signed"))

    monkeypatch.setattr(transfer.urllib.request, "urlopen", distrust)
    with pytest.raises(ConnectionError, match="self-signed"):
        fetch(entry_of(None), console=quiet())
    assert len(tries) == 1


LOGIN = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><head><title>\n Sign in </title></head>" + b"x" * 999


@pytest.mark.parametrize("sha256", [SHA, ""])
@pytest.mark.parametrize("page", [LOGIN, b"<HTML><body>moved", b"<?xml version='1.0'?><Error/>"])
def test_a_web_page_is_no_file_of_weights(server, sha256, page, tmp_path):
    server.files["models/net.pth"] = (page, "")
    with pytest.raises(FileNotFoundError) as error:
        fetch(entry_of(server, sha256), console=quiet())
    titled = " titled 'Sign in'" if page is LOGIN else ""
    assert f"{server.url}/models/net.pth gave a web page{titled} and not" in str(error.value)
    assert "To place it by hand, save" in str(error.value)
    assert names(tmp_path / "cache/models/lab/net.v1") == []


def test_a_web_page_of_the_hub_is_no_file_of_weights(hub, tmp_path):
    on_hub(hub, "mylab/our_vit")
    page = (LOGIN, f'"{"b" * 40}"')
    hub.files["mylab/our_vit/resolve/main/config.json"] = page
    hub.files[f"mylab/our_vit/resolve/{'c' * 40}/config.json"] = page
    with pytest.raises(FileNotFoundError, match=r"config\.json gave a web page titled 'Sign in'"):
        fetch("mylab/our_vit", console=quiet())
    assert "config.json" not in names(tmp_path / "cache/models/mylab/our_vit")


@pytest.mark.parametrize("start", [b"\x80\x02", b"PK\x03\x04", b"<\x00\x00", b"{}", b""])
def test_what_only_begins_a_little_like_a_page_is_none(start):
    assert not pages.is_page(start)


def test_a_page_under_the_name_of_a_checkpoint(tmp_path):
    (tmp_path / "model.pth").write_bytes(LOGIN)
    with pytest.raises(ValueError, match=r"model\.pth .*it is a web page, perhaps of a login"):
        read_tensors(tmp_path / "model.pth")


def test_a_body_without_end_is_cut_off(server, monkeypatch, tmp_path):
    monkeypatch.setattr(transfer, "MOST", 100_000)
    server.sized = False
    with pytest.raises(OSError, match=r"how long net\.pth is, and sent more than 100,000 bytes"):
        fetch(entry_of(server), console=quiet())
    assert names(tmp_path / "cache/models/lab/net.v1") == []
    server.sized = True  # then the file may be as large as it says
    assert (fetch(entry_of(server), console=quiet()) / "net.pth").read_bytes() == DATA


@pytest.mark.parametrize("sized", [True, False])
def test_a_trickle_ends(server, monkeypatch, sized):
    """Although every try brings something."""
    monkeypatch.setattr(transfer, "PATIENCE", 0.05)
    monkeypatch.setattr(transfer, "SLOWEST", 1e7)
    server.sized, server.moods = sized, [{"pause": 0.02} for _ in range(9)]
    with pytest.raises(ConnectionError, match=r"only [\d,]+ bytes came in 0 s, 4 times in a row"):
        fetch(entry_of(server), console=quiet())
    assert len(server.seen) == 4
    monkeypatch.setattr(transfer, "SLOWEST", 1e3)
    assert (fetch(entry_of(server), console=quiet()) / "net.pth").read_bytes() == DATA
