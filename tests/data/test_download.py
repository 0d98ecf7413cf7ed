"""A download is tried at each mirror, checked by its hash, and unpacked without harm."""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from fnnet import DataError, load_cifar10
from fnnet.data.download import LAYOUTS, SHA256, Content, copy, fetch, is_complete, unpack
from tests.cifar10_files import FOLDERS, NAMES, SUFFIX, with_one_replaced
from tests.programs import Terminal

ARCHIVE = "cifar-10-binary.tar.gz"
HUGE = "cifar-10-batches-bin/data_batch_2.bin"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def batch_files(layout: str = "bin") -> dict[str, bytes]:
    """Return files as small as can be: unpacking looks at their names and hash only."""
    return {f"{FOLDERS[layout]}/{name}{SUFFIX[layout]}": name.encode() * 99 for name in NAMES}


def archive_of(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> tuple[Path, str]:
    """Write an archive of the files and of further members; return it and its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for other in others:
            tar.addfile(other)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "target"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and notes what it was asked for."""

    asked: list[str]

    def log_message(self, *_: Any) -> None:
        self.asked.append(self.path)


Server = tuple[Path, str, list[str]]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the folder `www` on the loopback; yield it, its address and the requests."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "www"
    folder.mkdir()
    handler = type("Handler", (Quiet,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield folder, f"http://127.0.0.1:{httpd.server_port}", handler.asked  # type: ignore[attr-defined]
        finally:
            httpd.shutdown()
            thread.join()


def nothing_there(folder: Path) -> None:
    """Offer no archive."""


def another_archive(folder: Path) -> None:
    """Offer an archive with other content."""
    archive_of(folder / ARCHIVE, dict.fromkeys(batch_files(), b"evil"))


def half_an_archive(folder: Path) -> None:
    """Offer the beginning of the archive."""
    raw = archive_of(folder / ARCHIVE, batch_files())[0].read_bytes()
    (folder / ARCHIVE).write_bytes(raw[: len(raw) // 2])


BROKEN = [nothing_there, another_archive, half_an_archive]


@pytest.mark.parametrize("broken", BROKEN)
def test_the_next_mirror_is_tried_when_one_fails(
    server: Server,
    target: Path,
    broken: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, address, asked = server
    for name in "ab":
        (folder / name).mkdir()
    broken(folder / "a")
    _, digest = archive_of(folder / "b" / ARCHIVE, batch_files())
    fetch(target, [f"{address}/{name}/{ARCHIVE}" for name in "abc"], [digest])
    assert tree(target) == batch_files()
    assert len(asked) >= 2
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith(("trying", "failed: "))]
    assert [line.split(":")[0] for line in lines] == ["trying http", "failed", "trying http"]
    assert told.out == ""
    assert "\r" not in told.err  # a bar is for terminals
    assert not any(path.startswith("/c/") for path in asked)


def test_a_mirror_that_nobody_answers_is_a_failure_like_any_other(
    server: Server, target: Path
) -> None:
    folder, address, _ = server
    _, digest = archive_of(folder / ARCHIVE, batch_files())
    fetch(target, [f"http://127.0.0.1:1/{ARCHIVE}", f"{address}/{ARCHIVE}"], [digest])
    assert tree(target) == batch_files()


@pytest.mark.parametrize("broken", BROKEN)
def test_no_mirror_is_an_error_that_names_each_and_leaves_nothing(
    server: Server, target: Path, broken: Callable[[Path], None], tmp_path: Path
) -> None:
    folder, address, _ = server
    broken(folder)
    _, digest = archive_of(tmp_path / "right.tar.gz", batch_files())
    with pytest.raises(DataError, match=r"^no mirror had the archive:\n") as error:
        fetch(target, [f"{address}/{ARCHIVE}", "http://127.0.0.1:1/x"], [digest])
    for url in (f"{address}/{ARCHIVE}", "http://127.0.0.1:1/x"):
        assert f"\n  {url}: " in str(error.value)
    assert tree(target) == {}


def test_the_folder_is_made(server: Server, target: Path) -> None:
    folder, address, _ = server
    _, digest = archive_of(folder / ARCHIVE, batch_files())
    fetch(target / "a" / "b", [f"{address}/{ARCHIVE}"], [digest])
    assert tree(target / "a" / "b") == batch_files()


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_nothing_but_the_named_members_is_extracted(tmp_path: Path, target: Path) -> None:
    folder = FOLDERS["bin"]
    surplus = {
        f"{folder}/readme.html": b"surplus",
        f"{folder}/batches.meta.txt": b"surplus",
        "data_batch_1.bin": b"surplus",
    }
    others = [member(folder, tarfile.DIRTYPE), member("elsewhere", tarfile.DIRTYPE)]
    path, digest = archive_of(tmp_path / "a.tar.gz", batch_files() | surplus, *others)
    unpack(path, target, [digest])
    assert tree(target) == batch_files()
    assert sorted(tmp_path.iterdir()) == [path, target]
    assert [*target.iterdir()] == [target / folder]


FIRST = f"{FOLDERS['bin']}/data_batch_1.bin"

HOSTILE_MEMBERS: dict[str, tuple[tarfile.TarInfo, str]] = {
    "absolute path": (member("/tmp/outside", tarfile.REGTYPE), "path out of"),
    "parent": (member("../outside", tarfile.REGTYPE), "path out of"),
    "parent within": (member(f"{FOLDERS['bin']}/../../outside", tarfile.REGTYPE), "path out of"),
    "folder of a parent": (member("..", tarfile.DIRTYPE), "path out of"),
    "link": (member(f"{FOLDERS['bin']}/l", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
    "folder a link": (member(FOLDERS["bin"], tarfile.SYMTYPE, "/tmp"), "a link or a device"),
    "batch a link": (member(FIRST, tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
    "hard link": (member("l", tarfile.LNKTYPE, "../secret"), "a link or a device"),
    "batch a hard link": (member(FIRST, tarfile.LNKTYPE, "/etc/passwd"), "a link or a device"),
    "device": (member("null", tarfile.CHRTYPE), "a link or a device"),
    "block device": (member("sda", tarfile.BLKTYPE), "a link or a device"),
    "batch a device": (member(FIRST, tarfile.CHRTYPE), "a link or a device"),
    "pipe": (member("pipe", tarfile.FIFOTYPE), "a link or a device"),
    "batch a pipe": (member(FIRST, tarfile.FIFOTYPE), "a link or a device"),
    "name twice": (member(FIRST, tarfile.REGTYPE), "twice"),
    "name of control characters": (member("\x1b[2J", tarfile.SYMTYPE, "x"), r"\\x1b"),
}


@pytest.mark.parametrize("kind", HOSTILE_MEMBERS)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_hostile_member_is_refused_and_nothing_written(
    tmp_path: Path, target: Path, kind: str, is_first: bool
) -> None:
    info, message = HOSTILE_MEMBERS[kind]
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in batch_files().items():
            if is_first:
                tar.addfile(info)
            regular = tarfile.TarInfo(name)
            regular.size = len(content)
            tar.addfile(regular, io.BytesIO(content))
            if not is_first:
                tar.addfile(info)
    with pytest.raises(DataError, match=message):
        unpack(path, target, [digest_of(path)])
    assert [*target.iterdir()] == []
    assert sorted(tmp_path.iterdir()) == [path, target]


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def gzip_of_zeros(size: int) -> bytes:
    """Return gzip data of `size` zeros, a multiple of 16 MB, fast."""
    return gzip.compress(bytes(1 << 24), 1) * (size >> 24)


@pytest.mark.parametrize("kind", ["surplus", "batch", "long name", "extended header"])
def test_a_bomb_of_zeros_is_refused_before_memory_is_taken(
    tmp_path: Path, target: Path, kind: str
) -> None:
    size = 1 << 30
    info = member(FIRST if kind == "batch" else "zeros", tarfile.REGTYPE)
    info.type = {"long name": tarfile.GNUTYPE_LONGNAME, "extended header": tarfile.XHDTYPE}.get(
        kind, info.type
    )
    info.size = size
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf()) + gzip_of_zeros(size))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more"):
            unpack(path, target, [digest_of(path)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000
    assert [*target.iterdir()] == []


@pytest.mark.parametrize("size", [-1, 1, 10**6, 2**40, 2**62])
def test_a_member_of_absurd_size_is_refused(tmp_path: Path, target: Path, size: int) -> None:
    info = member(FIRST, tarfile.REGTYPE)
    info.size = size
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with pytest.raises(DataError, match=r"a\.tar\.gz"):
        unpack(path, target, [digest_of(path)])
    assert [*target.iterdir()] == []


def test_damaged_archives_of_a_known_hash_are_refused_or_unpacked_into_the_folder(
    tmp_path: Path, target: Path
) -> None:
    whole = archive_of(tmp_path / "a.tar.gz", batch_files())[0].read_bytes()
    path, rng = tmp_path / "a.tar.gz", np.random.default_rng(0)
    damaged: list[bytes] = [whole[:length] for length in range(0, len(whole) - 8, 7)]
    plain = gzip.decompress(whole)
    for place in rng.choice(len(plain), 300, replace=False).tolist():
        raw = bytearray(plain)
        raw[place] ^= int(rng.integers(1, 256))
        damaged.append(gzip.compress(raw, 1))
    damaged += [
        whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        for place in range(len(whole))
    ]
    for content in damaged:
        path.write_bytes(content)
        with contextlib.suppress(DataError):
            unpack(path, target, [hashlib.sha256(content).hexdigest()])
        assert {*tree(target)} <= {*batch_files()}
        assert sorted(tmp_path.iterdir()) == [path, target]


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_either_layout_is_unpacked(tmp_path: Path, target: Path, layout: str) -> None:
    path, digest = archive_of(tmp_path / "a.tar.gz", batch_files(layout))
    unpack(path, target, ["0" * 64, digest])
    assert tree(target) == batch_files(layout)
    assert {*batch_files(layout)} == {f"{FOLDERS[layout]}/{n}" for n in LAYOUTS[FOLDERS[layout]]}


def test_an_archive_is_unpacked_into_a_folder_that_is_made(tmp_path: Path, target: Path) -> None:
    path, digest = archive_of(tmp_path / "a.tar.gz", batch_files())
    unpack(path, target / "a" / "b", [digest])
    assert tree(target / "a" / "b") == batch_files()


def test_an_archive_that_was_compressed_twice_is_damaged(tmp_path: Path, target: Path) -> None:
    path, _ = archive_of(tmp_path / "a.tar.gz", batch_files())
    twice = tmp_path / "b.tar.gz"
    twice.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=rf"^{twice} is damaged: ReadError: "):
        unpack(twice, target, [hashlib.sha256(twice.read_bytes()).hexdigest()])
    assert tree(target) == {}


def test_an_archive_of_another_hash_is_refused_unopened(tmp_path: Path, target: Path) -> None:
    path, digest = archive_of(tmp_path / "a.tar.gz", batch_files())
    wanted = (
        f"^{path} must have the SHA-256 of an official archive, found {digest}; is the download"
    )
    with pytest.raises(DataError, match=wanted):
        unpack(path, target)
    assert tree(target) == {}


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_states_gigabytes_takes_no_memory(
    tmp_path: Path, target: Path, kind: bytes
) -> None:
    header = member("x", kind)
    header.size = 8**11 - 1
    path, digest = archive_of(tmp_path / "a.tar.gz", batch_files(), header)
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            unpack(path, target, [digest])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000
    assert tree(target) == {}


def test_a_last_file_that_ends_after_the_archive_is_refused(tmp_path: Path, target: Path) -> None:
    path, _ = archive_of(tmp_path / "a.tar.gz", batch_files())
    raw = bytearray(gzip.decompress(path.read_bytes()))
    at = raw.rindex(b"cifar-10-batches-bin/")
    info = tarfile.TarInfo.frombuf(raw[at : at + 512], "utf-8", "strict")
    info.size = len(raw)
    raw[at : at + 512] = info.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(DataError, match="ends after the archive"):
        unpack(path, target, [digest_of(path)])
    assert [*target.iterdir()] == []


@pytest.mark.parametrize("size", [0, 600])
def test_a_batch_file_that_is_a_folder_is_refused(tmp_path: Path, target: Path, size: int) -> None:
    files = batch_files()
    name = f"{FOLDERS['bin']}/data_batch_3.bin"
    del files[name]
    folder = member(name, tarfile.DIRTYPE)
    folder.size = size  # of no meaning
    path, digest = archive_of(tmp_path / "a.tar.gz", files, folder)
    with pytest.raises(DataError, match=r"no usable .*data_batch_3"):
        unpack(path, target, [digest])
    assert [*target.iterdir()] == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {}, "holds neither"),
        (lambda: {"readme": b"hello"}, "holds neither"),
        (lambda: {k: v for k, v in batch_files().items() if "test" not in k}, "no usable .*test"),
        (lambda: batch_files() | {HUGE: bytes(32_000_001)}, "no usable .*data_batch_2"),
    ],
)
def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, target: Path, make: Callable[[], dict[str, bytes]], message: str
) -> None:
    path, digest = archive_of(tmp_path / "a.tar.gz", make())
    with pytest.raises(DataError, match=message):
        unpack(path, target, [digest])


@pytest.mark.parametrize(("size", "fits"), [(0, False), (1, True), (9_000, True), (9_001, False)])
def test_a_batch_file_is_neither_empty_nor_larger_than_the_official_ones(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, size: int, fits: bool
) -> None:
    monkeypatch.setattr("fnnet.data.download.MAX_FILE", 9_000)
    files = batch_files() | {HUGE: bytes(size)}
    path, digest = archive_of(tmp_path / "a.tar.gz", files)
    if fits:
        unpack(path, target, [digest])
        assert tree(target) == files
    else:
        with pytest.raises(DataError, match=f"^{path} has no usable {HUGE}$"):
            unpack(path, target, [digest])


def test_an_archive_may_unpack_to_as_much_as_cifar10_has(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = archive_of(tmp_path / "a.tar.gz", batch_files())
    size = len(gzip.decompress(path.read_bytes()))
    monkeypatch.setattr("fnnet.data.download.MAX_CONTENT", size - 1)
    with pytest.raises(DataError, match=f"^{path} unpacks to more than CIFAR-10 has$"):
        unpack(path, target, [digest])
    monkeypatch.setattr("fnnet.data.download.MAX_CONTENT", size)
    unpack(path, target, [digest])
    assert tree(target) == batch_files()


def test_the_last_file_may_end_where_the_archive_ends(tmp_path: Path, target: Path) -> None:
    files = dict.fromkeys(batch_files(), bytes(512))
    path, _ = archive_of(tmp_path / "a.tar.gz", files)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[: 6 * 1024]))
    unpack(path, target, [digest_of(path)])
    assert tree(target) == files


@pytest.mark.parametrize("damage", ["truncated", "no archive", "empty"])
def test_a_damaged_archive_of_a_known_hash_is_an_error(
    tmp_path: Path, target: Path, damage: str
) -> None:
    path, _ = archive_of(tmp_path / "a.tar.gz", batch_files())
    raw = path.read_bytes()
    path.write_bytes({"truncated": raw[:-60], "no archive": b"hello", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"a\.tar\.gz"):
        unpack(path, target, [hashlib.sha256(path.read_bytes()).hexdigest()])


def test_the_hashes_are_the_official_ones() -> None:
    assert [*SHA256] == [
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ]


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_a_folder_that_the_user_has_is_copied(
    request: pytest.FixtureRequest, target: Path, layout: str
) -> None:
    source: Path = request.getfixturevalue(f"cifar_{layout}")
    assert not is_complete(target)
    copy(source / FOLDERS[layout], target)
    assert is_complete(target)
    assert len(load_cifar10(target)[0]) == 50_000
    copy(source, target)  # over what is there
    assert is_complete(target)
    assert sorted(file.name for file in target.rglob("*batch*") if file.is_file()) == sorted(
        name + SUFFIX[layout] for name in NAMES
    )


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_a_copy_has_the_batch_files_byte_for_byte_and_no_others(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr("fnnet.data.cifar.read", lambda *_: None)  # the files are tiny
    for name, raw in (batch_files(layout) | {f"{FOLDERS[layout]}/readme.html": b"x"}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    made = target / "made" / "by it"
    for _ in range(2):  # the second time over what is there
        copy(tmp_path, made)
        assert tree(made) == batch_files(layout)
    assert is_complete(made)
    assert not is_complete(target)


def test_a_damaged_folder_is_not_copied(cifar_bin: Path, target: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    with_one_replaced(folder, cifar_bin, "bin", "test_batch", b"short")
    assert not is_complete(folder)
    with pytest.raises(DataError, match=r"test_batch\.bin"):
        copy(folder, target)
    assert tree(target) == {}


def send_for_ever(handler: SimpleHTTPRequestHandler) -> None:
    """Answer without end: as fast as possible, or a byte now and then, or only a header."""
    with contextlib.suppress(OSError):
        while "header" in handler.path:
            handler.wfile.write(b"H")
            time.sleep(0.05)
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x" * (1 << 16) if "fast" in handler.path else b"x")
            if "slow" in handler.path:
                time.sleep(0.05)


ENDLESS = {"do_GET": send_for_ever, "log_message": lambda *_: None}
Endless: Any = type("Endless", (SimpleHTTPRequestHandler,), ENDLESS)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("fast", "more than 1,000,000 bytes"),
        ("slow", "not done after 0"),
        ("header", "no answer within 0 seconds"),
    ],
)
def test_a_mirror_without_end_is_given_up(
    target: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as httpd:
        httpd.daemon_threads = True
        httpd.block_on_close = False
        threading.Thread(target=httpd.serve_forever, args=(0.01,)).start()
        url = f"http://127.0.0.1:{httpd.server_port}/{kind}"
        try:
            with pytest.raises(DataError, match=message):
                fetch(target, [url], ["0" * 64], max_size=1_000_000, longest=0.3)
        finally:
            httpd.shutdown()
    assert [*target.iterdir()] == []


def test_a_mirror_that_falls_silent_is_given_up(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = threading.Event()

    def fall_silent(handler: SimpleHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x")
        heard.wait(2)

    silent: Any = type("Silent", (SimpleHTTPRequestHandler,), ENDLESS | {"do_GET": fall_silent})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("fnnet.data.download.SILENCE", 0.1)
    with ThreadingHTTPServer(("127.0.0.1", 0), silent) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,)).start()
        try:
            with pytest.raises(DataError, match=r"timed out>?$"):
                fetch(target, [f"http://127.0.0.1:{httpd.server_port}/x"], ["0" * 64])
        finally:
            heard.set()
            httpd.shutdown()


def test_an_archive_may_have_the_largest_size_and_not_a_byte_more(
    server: Server, target: Path
) -> None:
    folder, address, _ = server
    path, digest = archive_of(folder / ARCHIVE, batch_files())
    size, urls = path.stat().st_size, [f"{address}/{ARCHIVE}"]
    with pytest.raises(DataError, match=f": the mirror sends more than {size - 1:,} bytes$"):
        fetch(target, urls, [digest], max_size=size - 1)
    fetch(target, urls, [digest], max_size=size)
    assert tree(target) == batch_files()


def test_a_download_lies_hidden_in_the_folder_until_it_is_unpacked(
    server: Server, target: Path
) -> None:
    folder, address, _ = server
    _, digest = archive_of(folder / "x", {"readme": b"hello"})
    place = rf"{target}/\.download-\w+/{ARCHIVE}"
    with pytest.raises(DataError, match=f"^{place} holds neither"):
        fetch(target, [f"{address}/x"], [digest])
    assert [*target.iterdir()] == []


def test_a_folder_that_cannot_be_made_is_no_fault_of_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        fetch(tmp_path / "file" / "below", ["http://127.0.0.1:1/x"], ["0" * 64])


def test_an_archive_that_lies_in_the_folder_stays(server: Server, target: Path) -> None:
    folder, address, _ = server
    _, digest = archive_of(folder / ARCHIVE, batch_files())
    (target / ARCHIVE).write_bytes(b"the user's own")
    fetch(target, [f"{address}/{ARCHIVE}"], [digest])
    assert (target / ARCHIVE).read_bytes() == b"the user's own"


def hostile_archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> list[str]:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return [digest_of(path)]


def test_one_file_under_two_spellings_is_refused(tmp_path: Path, target: Path) -> None:
    names = [*batch_files(), f"./{FIRST}"]
    members = [(member(name, tarfile.REGTYPE), b"x") for name in names]
    hashes = hostile_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(DataError, match="twice"):
        unpack(tmp_path / "a.tar.gz", target, hashes)
    assert [*target.iterdir()] == []


def test_a_sparse_member_is_refused(tmp_path: Path, target: Path) -> None:
    sparse = member(FIRST, tarfile.REGTYPE)
    sparse.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": "30000000",
        "GNU.sparse.map": "0,1",
    }
    members = [(sparse, b"x")] + [
        (member(name, tarfile.REGTYPE), b"x") for name in batch_files() if name != FIRST
    ]
    hashes = hostile_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(DataError, match="sparse"):
        unpack(tmp_path / "a.tar.gz", target, hashes)
    assert [*target.iterdir()] == []


def test_headers_that_nest_without_end_are_refused(tmp_path: Path, target: Path) -> None:
    header = member("pax", tarfile.XHDTYPE)
    header.size = 0
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf() * 5000 + bytes(1024)))
    with pytest.raises(DataError, match="damaged"):
        unpack(path, target, [digest_of(path)])


def test_an_archive_that_a_browser_unpacked_is_told(tmp_path: Path, target: Path) -> None:
    path, _ = archive_of(tmp_path / "a.tar.gz", batch_files())
    (tmp_path / "a.tar").write_bytes(gzip.decompress(path.read_bytes()))
    cure = "unpack it, and give the folder that comes out$"
    with pytest.raises(DataError, match=rf"to a \.tar already, as some browsers do: {cure}"):
        unpack(tmp_path / "a.tar", target)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe is not a regular file"):
        unpack(tmp_path / "pipe", tmp_path)


@pytest.mark.parametrize("states_its_size", [True, False])
def test_a_terminal_shows_how_much_of_a_download_is_there(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, states_its_size: bool
) -> None:
    folder, address, _ = server
    noise = np.random.default_rng(0).bytes(200_000)
    _, digest = archive_of(folder / ARCHIVE, dict.fromkeys(batch_files(), noise))
    if not states_its_size:
        monkeypatch.setattr(
            SimpleHTTPRequestHandler,
            "send_header",
            lambda handler, name, value: (
                None
                if name == "Content-Length"
                else BaseHTTPRequestHandler.send_header(handler, name, value)
            ),
        )
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("fnnet.data.download.tqdm", partial(tqdm, mininterval=0, miniters=1))
    fetch(target, [f"{address}/{ARCHIVE}"], [digest])
    shown: Any = sys.stderr
    assert "1.20MB [" in shown.getvalue() or "1.20M/1.20M [" in shown.getvalue()
    assert ("100%" in shown.getvalue()) == states_its_size
    assert shown.getvalue().endswith("\r")  # it is wiped off


@pytest.mark.parametrize("layout", ["bin", "py"])
@pytest.mark.parametrize("missing", NAMES)
def test_a_file_that_an_archive_lacks_is_named(
    tmp_path: Path, target: Path, layout: str, missing: str
) -> None:
    files = batch_files(layout)
    name = f"{FOLDERS[layout]}/{missing}{SUFFIX[layout]}"
    del files[name]
    path, digest = archive_of(tmp_path / "a.tar.gz", files)
    with pytest.raises(DataError, match=f"^{path} has no usable {name}$"):
        unpack(path, target, [digest])
    assert tree(target) == {}


def test_an_archive_without_cifar10_is_told_what_should_be_in_it(
    tmp_path: Path, target: Path
) -> None:
    path, digest = archive_of(tmp_path / "a.tar.gz", {"notes.txt": b"x"})
    folders = " nor ".join(FOLDERS.values())
    with pytest.raises(DataError, match=f"^{path} holds neither {folders}$"):
        unpack(path, target, [digest])


def test_the_bytes_of_an_archive_are_read_as_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"hello"))
    with Content(tmp_path / "a.gz") as content:
        assert [content.read(n) for n in (0, 1, 2, -1, 5)] == [b"", b"h", b"el", b"lo", b""]
