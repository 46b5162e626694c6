"""The pictures of docs/gallery.md, ten seconds each, sung and spoken in three languages, and README's: animated WebP.

    python benchmarks/gallery.py --head-model FOLDER --out docs/images --page docs/gallery.md [--model FOLDER]

The faces are the sample portrait (public domain), heads that the head model makes from random numbers, and a drawn one:
nobody's likeness but the sample's. Needs espeak-ng for the voices. Prints one line per picture with its size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from emo_cli import footage
from emo_cli.animate import AnimateOptions, animate
from emo_cli.training.correspondence import render
from emo_cli.training.rig import HeadModel

ROOT = Path(__file__).parents[1]
FPS, LARGEST = 12.5, 1_000_000  # per second, bytes
SPOKEN = {
    "en": "Hello. One picture and one voice are all I need; then I talk, I sing, and I look about as people do. "
    "Nothing leaves your computer, and no graphics card is needed.",
    "de": "Guten Tag. Ein Bild und eine Stimme genügen mir; dann spreche ich, ich singe, und ich sehe mich dabei um. "
    "Alles bleibt auf deinem Rechner, und eine Grafikkarte braucht es nicht.",
    "es": "Buenos días. Con una foto y una voz me basta; entonces hablo, canto y miro como lo hace la gente. "
    "Todo se queda en tu ordenador, y no hace falta ninguna tarjeta gráfica.",
}
LANGUAGES = {"en": "English", "de": "German", "es": "Spanish"}


@dataclass(frozen=True)
class Piece:
    """One picture of the gallery: whose face ("sample", "drawn" or the number of a made head), and what it says.

    sound: a language of SPOKEN, or "song"; side: pixels; seconds: how much of the sound.
    """

    name: str
    face: str
    sound: str
    side: int = 288
    seconds: float = 10.0

    @property
    def caption(self) -> str:
        """What the page says below it."""
        faces = {"sample": "The sample portrait", "drawn": "A drawn face"}
        face = faces.get(self.face, "A head that a computer made from random numbers")
        return f"{face}, " + ("singing “Daisy Bell”" if self.sound == "song" else f"speaking {LANGUAGES[self.sound]}")


PIECES = (
    Piece("gallery-sample-song", "sample", "song"),
    Piece("gallery-head-english", "3", "en"),
    Piece("gallery-head-german", "8", "de"),
    Piece("gallery-drawn-spanish", "drawn", "es"),
    Piece("gallery-drawn-song", "drawn", "song"),
)
OF_README = Piece("portrait-song", "sample", "song", side=256, seconds=6.0)


def made_head(model: HeadModel, seed: int) -> Image.Image:
    """A head (768, 768) whose shape is drawn by chance: the model's mean plus a random mixture of its identities."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=len(model.identities)) * 0.7
    vertices = model.neutral + np.tensordot(weights, model.identities, 1)
    picture = Image.fromarray(render(vertices, model.triangles, model.face_ids))
    return picture.filter(ImageFilter.GaussianBlur(1.2))  # flat shading shows its triangles


def drawn_face() -> Image.Image:
    """A face of a few shapes (768, 768)."""
    picture = Image.new("RGB", (1536, 1536), (183, 205, 214))
    draw = ImageDraw.Draw(picture)
    skin, shade, hair = (236, 190, 158), (214, 160, 128), (84, 52, 36)
    draw.ellipse((330, 130, 1206, 1250), fill=hair)
    draw.rounded_rectangle((610, 1080, 926, 1536), 80, fill=shade)
    draw.ellipse((120, 1330, 1416, 1900), fill=(70, 96, 140))
    draw.polygon([(640, 1330), (896, 1330), (768, 1480)], fill=shade)
    draw.ellipse((420, 300, 1116, 1220), fill=skin)
    draw.chord((400, 190, 1136, 800), 180, 360, fill=hair)
    draw.ellipse((430, 400, 1106, 800), fill=skin)
    for side in (-1, 1):
        x = 768 + side * 165
        draw.ellipse((x - 92, 640, x + 92, 740), fill=(248, 246, 242))
        draw.ellipse((x - 44, 646, x + 44, 734), fill=(86, 122, 92))
        draw.ellipse((x - 20, 670, x + 20, 710), fill=(20, 18, 18))
        draw.ellipse((x + 4, 664, x + 18, 678), fill=(255, 255, 255))
        draw.arc((x - 96, 632, x + 96, 752), 195, 345, fill=(60, 36, 28), width=14)
        draw.arc((x - 120, 540, x + 120, 700), 215, 325, fill=hair, width=26)
        draw.ellipse((x - 40 + side * 110, 820, x + 60 + side * 90, 900), fill=(238, 176, 150))
    draw.arc((700, 760, 836, 930), 30, 150, fill=shade, width=16)
    draw.line((760, 660, 742, 850), fill=shade, width=12)
    draw.chord((640, 985, 896, 1085), 0, 180, fill=(190, 92, 88))
    draw.polygon([(640, 1035), (712, 1000), (768, 1016), (824, 1000), (896, 1035)], fill=(172, 78, 76))
    draw.line((644, 1036, 892, 1036), fill=(110, 44, 44), width=7)
    return picture.resize((768, 768), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.8))


def face(piece: Piece, model: HeadModel, folder: Path) -> Path:
    """The photo of a piece."""
    if piece.face == "sample":
        return ROOT / "examples" / "portrait.jpg"
    path = folder / f"{piece.face}.png"
    (drawn_face() if piece.face == "drawn" else made_head(model, int(piece.face))).save(path)
    return path


def sound(piece: Piece, folder: Path) -> Path:
    """The sound of a piece."""
    if piece.sound == "song":
        return ROOT / "examples" / "song.wav"
    path = folder / f"{piece.sound}.wav"
    if not path.exists():
        subprocess.run(["espeak-ng", "-v", piece.sound, "-s", "150", "-w", path, SPOKEN[piece.sound]], check=True)
    return path


def save(frames: list[Image.Image], path: Path) -> int:
    """Write an animated WebP of at most LARGEST bytes, the finest that fits; returns its bytes."""
    part = path.with_suffix(".part.webp")
    for quality in (60, 45, 32, 22, 14):
        frames[0].save(
            part, save_all=True, append_images=frames[1:], duration=round(1000 / FPS), loop=0, quality=quality, method=4
        )
        if part.stat().st_size <= LARGEST:
            break
    os.replace(part, path)
    return path.stat().st_size


def make(piece: Piece, model: HeadModel, out: Path, options: argparse.Namespace) -> int:
    """Animate one piece and write its picture; returns its bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wishes = AnimateOptions(
            face(piece, model, folder), sound(piece, folder), folder / "made.mp4", model=options.model,
            duration=piece.seconds, seed=options.seed,
        )  # fmt: skip
        made = animate(wishes)
        pictures = [Image.fromarray(frame) for number, frame in enumerate(footage.read(made.path)) if number % 2 == 0]
    small = [picture.resize((piece.side, piece.side), Image.Resampling.LANCZOS) for picture in pictures]
    return save(small, out / f"{piece.name}.webp")


def page(images: str) -> str:
    """The page that shows all pieces."""
    rows = [f"![{piece.caption}]({images}/{piece.name}.webp)\n\n{piece.caption}.\n" for piece in PIECES]
    return (
        "# Gallery\n\nMade by the bundled model as it is, without a graphics card, by `benchmarks/gallery.py`. The "
        "pictures\nmove, half as many a second as the videos have, and are silent. Only the sample shows a real "
        "person, who never\nsaid or sang this ([where it comes from](../examples/SOURCES.md)).\n\n" + "\n".join(rows)
    )


def main() -> None:
    """Make all pieces, then the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--head-model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the name of one piece")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = HeadModel.load(options.head_model)
    for piece in (*PIECES, OF_README):
        if options.only in (None, piece.name):
            print(piece.name, make(piece, model, options.out, options), "bytes", flush=True)
    if options.page is not None:
        options.page.write_text(page(os.path.relpath(options.out, options.page.parent)), encoding="utf-8")


if __name__ == "__main__":
    main()
