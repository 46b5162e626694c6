"""The page about a batch, as a browser shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from emo_cli import video
from emo_cli.batch.ledger import Record
from emo_cli.batch.report import address, write_reports

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
STRANGE = ["plain.mp4", "with space.mp4", 'a "quoted" <b>name.mp4', "new\nline #1?.mp4", "100% ü✓.mp4"]
# A one-pixel JPEG would do; this is the smallest that says what it is.
POSTER = "/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
LOOK = """
<script>
const players = [...document.querySelectorAll("video")];
const told = players.map(player => new Promise(done => {
  player.onloadeddata = () => done([player.videoWidth, player.duration]);
  player.onerror = () => done(["error", player.error.message]);
  player.preload = "auto"; player.load();
}));
Promise.all(told).then(all => {
  document.body.insertAdjacentHTML("beforeend", `<pre id=told>${JSON.stringify(all)}</pre>`);
});
</script>
"""


def records(folder: Path) -> list[Record]:
    """One record for each strange name, with its video in the folder, and a failure."""
    found = []
    for number, name in enumerate(STRANGE, start=1):
        video.write(folder / name, [np.full((64, 64, 3), 20 * number, np.uint8)] * 5, 25)
        found.append(
            Record(number, "done", "<photo>.jpg", "sound & noise.wav", str(folder / name), {"lips": 0.5}, frames=5,
                   seconds=0.2, fps=25.0, model="tiny", seed=7, took=1.5, poster=POSTER, warnings=("<i>odd</i>",))
        )  # fmt: skip
    failed = Record(6, "failed", "x.jpg", "x.wav", "x.mp4", {}, error="No face <found>.", kind="FaceError", exit_code=4)
    return [*found, failed]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    found = tmp_path / "report.html"
    write_reports(found, records(tmp_path), 12.3)
    return found


def test_the_page_needs_nothing_but_the_videos(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sources = [html.unescape(source) for source in re.findall(r'(?:src|href)="([^"]*)"', text)]
    assert sources == [address(page.parent / name, page.parent) for name in STRANGE]
    assert all(source.startswith("./") for source in sources)
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    assert text.count('poster="data:image/jpeg;base64,') == len(STRANGE)


def test_the_page_tells_settings_times_and_errors(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for word in ("5 done, 1 failed", "tiny, seed 7", "<dt>lips</dt><dd>0.5</dd>", "1.5 s", "No face &lt;found&gt;."):
        assert word in text
    assert "<i>odd" not in text and "<photo>" not in text


def test_the_lines_say_the_same_for_programs(page: Path) -> None:
    lines = [json.loads(line) for line in page.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done"] * 5 + ["failed"]
    assert lines[3]["output"].endswith("new\nline #1?.mp4")
    assert (lines[5]["exit_code"], lines[5]["kind"]) == (4, "FaceError")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: `apt-get install chromium` brings it")
def test_a_browser_shows_every_card_and_plays_every_video(page: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    looked = page.with_name("looked.html")
    looked.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--autoplay-policy=no-user-gesture-required", "--virtual-time-budget=20000", "--dump-dom", looked.as_uri(),
    ]  # fmt: skip
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert seen.count("<article") == 6
    assert "No face &lt;found&gt;. (code 4)" in seen
    told = re.search(r'<pre id="told">(.*?)</pre>', seen)
    assert told, seen[-2000:]
    assert json.loads(told[1]) == [[64, 0.2]] * len(STRANGE)
