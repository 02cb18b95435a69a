from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autocomp import cache
from autocomp.errors import DataError
from autocomp.tasks.shards import Shard, find

Write = Callable[..., Path]


def names(found: dict[str, list[Shard]], folder: Path) -> dict[str, list[str]]:
    return {split: [shard.relative.removeprefix(f"{folder.name}/") for shard in shards] for split, shards in found.items()}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train.parquet", "train"),
        ("data/train-00000-of-00002.parquet", "train"),
        ("default/test/0000.parquet", "test"),
        ("plain_text/validation/0000.parquet", "validation"),
        ("val_1.parquet", "validation"),
        ("test/train.parquet", "train"),  # the nearest name counts
        ("test_data/0000.parquet", None),
        ("latest/0000.parquet", None),  # a whole word only
        ("contest.parquet", None),
    ],
)
def test_a_split_follows_from_the_nearest_name_that_is_one(path: str, split: str | None) -> None:
    assert Shard(None, path, path, "").split == split


def test_a_folder_gives_its_files_by_split_in_order(tmp_path: Path, parquet: Write) -> None:
    for name in ("data/train-1.parquet", "data/train-0.parquet", "data/test-0.parquet", "extra.parquet"):
        parquet(tmp_path / "validation" / name, 1)  # the name of the folder itself says nothing
    (tmp_path / "validation" / "README.md").touch()
    assert names(find([str(tmp_path / "validation")]), tmp_path) == {
        "train": ["data/train-0.parquet", "data/train-1.parquet"],
        "test": ["data/test-0.parquet"],
    }


def test_files_whose_names_say_nothing_are_for_training(tmp_path: Path, parquet: Write) -> None:
    files = [str(parquet(tmp_path / name, 1)) for name in ("a.parquet", "b.parquet")]
    assert names(find(files), tmp_path) == {"train": ["a.parquet", "b.parquet"]}


def test_listed_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, parquet: Write) -> None:
    files = [str(parquet(tmp_path / split / "0000.parquet", 1)) for split in ("train", "test")]
    assert names(find(files), tmp_path) == {"train": ["train/0000.parquet"], "test": ["test/0000.parquet"]}


def test_a_file_url_is_read_like_a_path(tmp_path: Path, parquet: Write) -> None:
    parquet(tmp_path / "train.parquet", 1)
    assert names(find([tmp_path.as_uri()]), tmp_path) == {"train": ["train.parquet"]}


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("nothing", "There is no data at '.*nothing'"),
        ("empty", "'.*empty' holds none"),
        ("test.parquet", "needs a training split, but .* has only: test"),
    ],
)
def test_data_that_is_not_there_is_said_in_one_line(tmp_path: Path, parquet: Write, location: str, rule: str) -> None:
    (tmp_path / "empty").mkdir()
    parquet(tmp_path / "test.parquet", 1)
    with pytest.raises(DataError, match=rule) as error:
        find([str(tmp_path / location)])
    assert "\n" not in str(error.value)


def test_an_unknown_kind_of_url_is_said_in_one_line() -> None:
    with pytest.raises(DataError, match="'nowhere://x' cannot be read") as error:
        find(["nowhere://x"])
    assert "\n" not in str(error.value)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/cut/train.parquet":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"PAR1")
                self.close_connection = True
            elif self.path.startswith("/moved/"):  # hubs send on to a storage whose names say nothing
                self.send_response(302)
                self.send_header("Location", "/storage/123abc")
                self.end_headers()
            else:
                super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_on_the_web_is_downloaded_once_and_again_when_it_changes(tmp_path: Path, parquet: Write, web: str) -> None:
    parquet(tmp_path / "storage" / "123abc", 2)
    first, again = (find([f"{web}/moved/train.parquet?download=true"])["train"][0] for _ in range(2))
    assert (first.path, first.version, first.relative) == (again.path, again.version, "moved/train.parquet")
    assert Path(first.path).read_bytes() == (tmp_path / "storage" / "123abc").read_bytes()
    parquet(tmp_path / "storage" / "123abc", 3)
    changed = find([f"{web}/moved/train.parquet?download=true"])["train"][0]
    assert Path(changed.path).read_bytes() == (tmp_path / "storage" / "123abc").read_bytes()


def test_a_download_that_fails_is_said_in_one_line(web: str) -> None:
    for url, reason in ((f"{web}/nothing.parquet", "404"), ("http://127.0.0.1:1/train.parquet", "refused"), ("http://[", "Invalid")):
        with pytest.raises(DataError, match=f"cannot be downloaded.*{reason}") as error:
            find([url])
        assert "\n" not in str(error.value)


def test_half_a_download_is_not_kept(web: str) -> None:
    with pytest.raises(DataError, match="ended after 4 of 1000 bytes"):
        find([f"{web}/cut/train.parquet"])
    assert not [path for path in (cache.directory() / "downloads").rglob("*.parquet") if path.stat().st_size == 4]
