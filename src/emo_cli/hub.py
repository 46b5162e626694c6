"""One file of the Hugging Face Hub at a time: asking about it, receiving it, and plain sentences for what goes wrong.

Addresses, access token, cache and timeouts are huggingface_hub's (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE,
HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT). What it does not do is done here: an interrupted file goes on where it
stopped in the next run, and received bytes are compared with the hash that the Hub states.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from emo_cli.catalogue import File
from emo_cli.errors import EmoError, OutputError, WeightsError
from emo_cli.weights import BytesTold, digest, is_pointer

PAUSES = (1.0, 2.0)  # seconds before asking again, where the Hub or the network stumbles
AGAIN = "Run the same command again later; what has arrived is kept."


class Unreachable(WeightsError):
    """The Hub cannot be asked just now; what the cache holds may still do."""


class Stumbled(Unreachable):
    """The Hub failed in a way that often mends itself within seconds."""


@dataclass(frozen=True)
class Remote:
    """A file as the Hub states it: commit, size in bytes, and the tag that its bytes must match.

    tag: the sha256 of a large file, or Git's own hash of a small one.
    """

    file: File
    commit: str
    tag: str
    size: int

    @property
    def sha256(self) -> str | None:
        """The sha256, where the Hub states it."""
        return self.tag if re.fullmatch("[0-9a-f]{64}", self.tag) else None

    @property
    def blob(self) -> Path:
        """Where the Hub's cache keeps its bytes."""
        return _repository_folder(self.file.repository) / "blobs" / self.tag

    @property
    def part(self) -> Path:
        """Where they lie while they arrive, so that a later run can go on."""
        return self.blob.with_name(f"{self.tag}.emo-part")


def cache() -> Path:
    """The Hub's cache (HF_HOME, HF_HUB_CACHE)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _repository_folder(repository: str) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return cache() / repo_folder_name(repo_id=repository, repo_type="model")


def ask(file: File, revision: str) -> Remote:
    """Ask the Hub what it has. Raises Unreachable, or WeightsError with the reason it refuses."""
    for pause in PAUSES:
        try:
            return _ask(file, revision)
        except Stumbled:
            time.sleep(pause)
    return _ask(file, revision)


def _ask(file: File, revision: str) -> Remote:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    with explained(file, revision):
        url = hf_hub_url(file.repository, file.path, revision=revision)
        stated = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    tag = stated.etag or ""
    if not stated.commit_hash or stated.size is None or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", tag):
        raise WeightsError(f"{host()} does not answer as a Hugging Face Hub does. Check HF_ENDPOINT and any proxy.")
    return Remote(file, stated.commit_hash, tag, stated.size)


def cached(file: File, revision: str) -> tuple[Path, str] | None:
    """A whole file that the cache holds already, by this or another program, and its commit; asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(file.repository, file.path, revision=revision)
    if not isinstance(found, str):
        return None
    blob, parts = Path(found).resolve(), Path(found).parts
    if not _has_tag(blob, file.sha256 or blob.name):
        return None
    return blob, parts[parts.index("snapshots") + 1]


def arrived(remote: Remote) -> int:
    """How many bytes of a file an earlier run has left."""
    size = remote.part.stat().st_size if remote.part.is_file() else 0
    return size if size <= remote.size else 0


def receive(remote: Remote, heard: BytesTold) -> Path:
    """Bring a file into the Hub's cache and return its blob. heard: is told of bytes as they come.

    Two tries if the bytes do not match the Hub's tag. Nothing has the final name before they do.
    """
    from huggingface_hub.utils import WeakFileLock

    with explained(remote.file, remote.commit), _quiet_hub():
        remote.part.parent.mkdir(parents=True, exist_ok=True)
        lock = cache() / ".locks" / remote.blob.parent.parent.name / f"{remote.tag}.emo.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not matches(remote, remote.blob):
                remote.blob.unlink(missing_ok=True)
                _receive_and_compare(remote, heard)
        _name(remote)
    return remote.blob


def _receive_and_compare(remote: Remote, heard: BytesTold) -> None:
    for _ in range(2):
        _fill(remote, heard)
        if is_pointer(remote.part):
            remote.part.unlink()
            raise WeightsError(
                f"{host()} sent a Git LFS pointer instead of {remote.file.path}. "
                "Its copy of the repository is not whole; choose another with HF_ENDPOINT."
            )
        if matches(remote, remote.part):
            os.replace(remote.part, remote.blob)
            return
        heard(-remote.part.stat().st_size)
        remote.part.unlink()
    raise WeightsError(
        f"{remote.file.path} arrived altered from {host()} twice: its bytes do not match its published hash. "
        "They were thrown away; try another network, or another HF_ENDPOINT."
    )


def _fill(remote: Remote, heard: BytesTold) -> None:
    """Receive what a part still lacks, again and again as long as some comes; on failure it keeps what has come."""
    from huggingface_hub.errors import HTTPError as HttpError

    while True:
        begun = arrived(remote)
        try:
            return _receive_rest(remote, begun, heard)
        except (HttpError, OSError):
            if arrived(remote) <= begun:
                raise


def _receive_rest(remote: Remote, begun: int, heard: BytesTold) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if not begun:
        remote.part.unlink(missing_ok=True)
    url = hf_hub_url(remote.file.repository, remote.file.path, revision=remote.commit)
    with _Part(remote.part, heard) as part:
        # Compressed on the way, a file could not be taken up in its middle.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        http_get(url, part, resume_size=begun, headers=headers, expected_size=remote.size)


def matches(remote: Remote, path: Path) -> bool:
    """Whether a file's bytes are the ones that the Hub states."""
    return path.is_file() and path.stat().st_size == remote.size and _has_tag(path, remote.tag)


def _has_tag(path: Path, tag: str) -> bool:
    """Whether a file's bytes have a sha256, or a hash as Git makes it for small files."""
    if len(tag) == 64:
        return digest(path) == tag
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == tag


def _name(remote: Remote) -> None:
    """Give a blob its name in the snapshot of its commit, as every program that uses the cache expects."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(remote.file.repository, remote.file.path, revision=remote.commit)


class _Part(io.BufferedWriter):
    """A file that grows at its end and tells how many bytes it took, or lost again."""

    def __init__(self, path: Path, heard: BytesTold) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._heard = heard
        self._size = self.tell()

    def write(self, chunk: bytes) -> int:  # type: ignore[override]
        count = super().write(chunk)
        self._size += count
        self._heard(count)
        return count

    def truncate(self, size: int | None = None) -> int:
        left = super().truncate(size)
        self._heard(left - self._size)
        self._size = left
        return left


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Let emo's own printer speak: no bars of huggingface_hub, no notes about its retries."""
    from huggingface_hub import utils

    logger = logging.getLogger("huggingface_hub")
    level, bars = logger.level, not utils.are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    if bars:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            utils.enable_progress_bars()


def host() -> str:
    """The name of the server that is asked."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT


@contextlib.contextmanager
def explained(file: File, revision: str) -> Iterator[None]:
    """Turn whatever the network, the Hub or the disk raises into one sentence."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # The HTTP library below differs between versions of huggingface_hub; its errors' root does not.
    from huggingface_hub.errors import HTTPError as HttpError

    try:
        yield
    except EmoError:
        raise
    except OfflineModeIsEnabled as error:
        raise Unreachable(
            f"HF_HUB_OFFLINE is set, and {file.path} of {file.repository} is not in the cache. Unset it to fetch."
        ) from error
    except HfHubHTTPError as error:
        raise _refused(file, revision, error) from error
    except (HttpError, OSError) as error:
        raise _broken(file, error) from error


def _refused(file: File, revision: str, error: Exception) -> WeightsError:
    """The Hub answered, but with a status that is not good."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    code = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, GatedRepoError):
        return WeightsError(
            f"{file.repository} is open only to those who accepted its terms. Accept them at "
            f"https://{host()}/{file.repository}, then set HF_TOKEN and run the command again."
        )
    if code == 401 and _token():
        return WeightsError(f"{host()} refuses the access token (401). Set HF_TOKEN to a valid one, or unset it.")
    if isinstance(error, RepositoryNotFoundError) or code == 401:
        return WeightsError(
            f"{host()} shows no repository {file.repository} ({code}). If it is private, set HF_TOKEN; "
            "else check HF_ENDPOINT, or look for a newer emo."
        )
    if code == 403:
        return WeightsError(
            f"{host()} does not let you read {file.repository} (403). Check what the token in HF_TOKEN may read."
        )
    if isinstance(error, RevisionNotFoundError):
        return WeightsError(f"{file.repository} has no revision {revision}. Look for a newer emo.")
    if code == 404:
        return WeightsError(f"{file.repository} has no file {file.path} at {revision}. Look for a newer emo.")
    if code == 429:
        return Unreachable(f"{host()} was asked too often (429). {AGAIN}")
    if code >= 500:
        return Stumbled(f"{host()} has a trouble of its own ({code}). {AGAIN}")
    return WeightsError(f"{host()} refuses {file.path} of {file.repository} ({code}). Check HF_ENDPOINT and HF_TOKEN.")


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _broken(file: File, error: Exception) -> EmoError:
    """No answer at all, half an answer, or a disk that does not take it."""
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"The disk filled up while {file.path} came in. Make room, or move HF_HOME; {AGAIN.lower()}")
    if isinstance(error, OSError) and error.filename:
        return OutputError(f"{error.filename} cannot be written ({error.strerror}). Choose another HF_HOME.")
    if "Timeout" in kinds:
        return Stumbled(
            f"{host()} answers too slowly. {AGAIN} "
            "HF_HUB_DOWNLOAD_TIMEOUT and HF_HUB_ETAG_TIMEOUT give it more seconds."
        )
    if "Consistency" in str(error):
        return Unreachable(f"{host()} sent only a part of {file.path}. {AGAIN}")
    if "RemoteProtocol" in kinds or "ReadError" in kinds or "ChunkedEncoding" in kinds:
        return Unreachable(f"The connection to {host()} broke while {file.path} came in. {AGAIN}")
    return Unreachable(f"{host()} cannot be reached. Check the network (or HF_ENDPOINT, if you set it). {AGAIN}")
