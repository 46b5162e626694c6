"""A small catalogue, a Hub that serves it, and the `emo` command run against both in a folder of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emo_process import Running, Said, begin, surroundings
from hub_server import Hub, serving, sha256

BACKBONE = random.Random(0).randbytes(400_000)
FILES = {"net.pth": BACKBONE, "sound/ear.pt": b"ear" * 20_000, "config.json": b'{"small": true}\n'}
# huggingface_hub hands a file on in pieces of 10 MiB; only a larger one can be interrupted in its middle.
GIANT = random.Random(1).randbytes(24_000_000)
PERSON = b"who it is" * 1000

TABLE = f"""
[licences]
mit = {{ text = "MIT" }}
research = {{ text = "research only", address = "https://example.org/terms", restricted = true }}

[repositories]
"them/singer" = {{ revision = "main", licence = "mit" }}
"them/giant" = {{ revision = "main", licence = "mit" }}
"them/faces" = {{ revision = "main", licence = "research" }}

[files]
net = {{ repository = "them/singer", path = "net.pth", role = "Net", megabytes = 0.4, sha256 = "{sha256(BACKBONE)}" }}
ear = {{ repository = "them/singer", path = "sound/ear.pt", place = "ear/tiny.pt", role = "sound", megabytes = 0.06 }}
config = {{ repository = "them/singer", path = "config.json", role = "sound", megabytes = 0.001 }}
giant = {{ repository = "them/giant", path = "giant.pth", role = "Backbone", megabytes = 24 }}
face = {{ repository = "them/faces", path = "face.onnx", role = "face identity", megabytes = 0.009 }}

[models.singer]
summary = "sings"
files = ["net", "ear", "config"]
[models.singer.extras.identity]
summary = "knows faces"
files = ["face"]

[models.listener]
summary = "only listens"
files = ["ear", "config"]

[models.giant]
summary = "is large"
files = ["giant"]
"""


@dataclass(frozen=True)
class Bench:
    """A running Hub, the table of models that `emo` reads, and the folder that HF_HOME names."""

    hub: Hub
    table: Path
    home: Path

    def emo(self, *arguments: str | Path, **changes: str) -> Said:
        """Run the command to its end; keywords change the environment."""
        return self.begin(*arguments, **changes).end()

    def begin(self, *arguments: str | Path, **changes: str) -> Running:
        """The same, on its way. The environment is without what this machine's user has set for the real Hub."""
        kept = {name: value for name, value in surroundings().items() if not name.startswith(("HF_", "HUGGING"))}
        ours = {
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HOME": str(self.home),
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_ETAG_TIMEOUT": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "EMO_WEIGHTS": str(self.table),
        }
        return begin(*arguments, environment={**kept, **ours, **changes})

    def folder(self, model: str) -> Path:
        """Where a fetched model lies."""
        return self.home / "emo" / model

    def resumed(self) -> list[str]:
        """From where in a file the storage was asked to go on."""
        return [request.range for request in self.hub.requests if request.range and "/storage/" in request.path]

    def blobs(self) -> list[Path]:
        """The finished files of the Hub's cache."""
        return [path for path in self.home.glob("hub/*/blobs/*") if path.suffix != ".emo-part"]

    def parts(self) -> list[Path]:
        """Its unfinished files."""
        return list(self.home.glob("hub/*/blobs/*.emo-part"))


STOCK = {"them/singer": FILES, "them/giant": {"giant.pth": GIANT}, "them/faces": {"face.onnx": PERSON}}


@contextmanager
def bench(
    folder: Path, text: str = TABLE, stock: Mapping[str, Mapping[str, bytes]] = STOCK
) -> Iterator[Bench]:
    """A bench with nothing fetched yet. text: the table of models; stock: files by path by repository."""
    table = folder / "table.toml"
    table.write_text(text)
    with serving(Hub({name: dict(files) for name, files in stock.items()})) as hub:
        yield Bench(hub, table, folder / "hf")
