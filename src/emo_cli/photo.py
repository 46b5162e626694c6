"""Read any still picture as upright RGB pixels, or say plainly what is wrong with it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from emo_cli.errors import InputError

LARGEST_AREA = 100_000_000  # pixels; more is a mistake or a decompression bomb
LARGEST_SIDE = 30_000
SMALLEST_SIDE = 64
GREY = (128, 128, 128)  # stands behind what is transparent
# Readers that start other programs, or that open no still pictures.
REFUSED = frozenset({"EPS", "WMF", "MPEG", "FPX", "MIC", "HDF5", "GRIB", "BUFR"})
# What the first box of a file says where a phone's camera has made it, or where it is AVIF.
HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
AVIF = frozenset({b"avif", b"avis"})
BRANDS = 64  # bytes of that box that are looked at


class Sized(Protocol):
    """What knows its width and height in pixels."""

    @property
    def size(self) -> tuple[int, int]: ...


def decode(source: Path | bytes, name: str | None = None) -> np.ndarray:
    """A picture file, or its bytes, as upright RGB uint8 (H, W, 3). name: how messages call it, if not by its path.

    Turns by the EXIF orientation, converts other colour profiles to sRGB, shows transparent pictures on mid
    grey, takes the first frame of an animation. Raises InputError for everything that is not a usable
    picture.
    """
    name = name or label(source)
    with warnings.catch_warnings():
        # Pillow warns of large areas and of odd metadata; what matters of it is said below in a clearer sentence.
        warnings.simplefilter("ignore")
        image = _open(source, name)
        _check_size(image, name)
        try:
            image.load()
            return _pixels(_upright(image))
        except Exception as error:  # Pillow's readers raise nearly any kind of exception on damaged files
            raise InputError(f"The photo {name} is cut off or damaged ({error}). Get a whole copy of it.") from error


def label(source: Path | bytes) -> str:
    """How messages call a photo."""
    return "stdin" if isinstance(source, bytes) else str(source)


def _open(source: Path | bytes, name: str) -> Image.Image:
    """The picture with its header read and its pixels not yet."""
    content = source if isinstance(source, bytes) else read_bytes(source)
    if not content:
        raise InputError(f"The photo {name} is empty. Give another file.")
    brands = _brands(content)
    if brands & HEIC and not brands & AVIF:
        return _open_heic(content, name)
    Image.init()
    formats = [known for known in Image.OPEN if known not in REFUSED]
    try:
        return Image.open(io.BytesIO(content), formats=formats)
    except Image.DecompressionBombError as error:
        raise InputError(f"The photo {name} is too large. Scale it below 100 megapixels.") from error
    except UnidentifiedImageError as error:
        if brands & AVIF and "AVIF" not in Image.OPEN:
            step = "Run `pip install 'pillow>=11.3'`, or save it as PNG"
            raise InputError(f"The photo {name} is AVIF. {step}.") from error
        raise InputError(
            f"The photo {name} is not a picture that can be read. Save it as JPEG, PNG or WebP."
        ) from error
    except Exception as error:  # a header that promises a format and then breaks it
        raise InputError(f"The photo {name} is cut off or damaged ({error}). Get a whole copy of it.") from error


def _brands(content: bytes) -> set[bytes]:
    """The kinds that an ISO media file says it is; none for other files."""
    if content[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(content[:4]), BRANDS)
    return {content[start : start + 4] for start in range(8, end, 4)}


def _open_heic(content: bytes, name: str) -> Image.Image:
    """A HEIC photo, upright already: its decoder turns it."""
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"The photo {name} is HEIC. Run `pip install 'emo-cli[heic]'`, or save it as JPEG."
        ) from error
    try:
        opened = pillow_heif.open_heif(content)
        _check_size(opened, name)
        image: Image.Image = opened.to_pillow()
    except InputError:
        raise
    except Exception as error:  # as with Pillow's readers, damage shows in many ways
        raise InputError(f"The photo {name} is cut off or damaged ({error}). Get a whole copy of it.") from error
    image.info.pop("exif", None)
    image.getexif().clear()
    return image


def read_bytes(path: Path) -> bytes:
    """A photo's file as it is. Raises InputError."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"The photo {path} does not exist. Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"The photo {path} is a folder. Give one picture file.") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"The photo {path} cannot be opened ({reason}). Check its permissions.") from error


def _check_size(image: Sized, name: str) -> None:
    width, height = image.size
    if width * height > LARGEST_AREA or max(width, height) > LARGEST_SIDE:
        raise InputError(f"The photo {name} is too large ({width} x {height} pixels). Scale it below 100 megapixels.")
    if min(width, height) < SMALLEST_SIDE:
        raise InputError(f"The photo {name} is too small ({width} x {height} pixels). Each side needs {SMALLEST_SIDE}.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF says nothing about the pixels
        return image


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return _deep_grey(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.new("RGBA", image.size, (*GREY, 255))
        image.alpha_composite(layered)
        image.info.update(layered.info)
        image = image.convert("RGB")
    return np.asarray(_standard_colours(image))


def _deep_grey(image: Image.Image) -> np.ndarray:
    """Grey with more than 8 bits, or with fractions -> RGB uint8; full scale is guessed from the values."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    high = float(values.max())
    scales = (1.0,) if image.mode == "F" and high <= 1 else (255.0, 65535.0)
    if image.mode.startswith("I;16"):
        scales = (65535.0,)
    full = next((scale for scale in scales if high <= scale), high)
    grey = np.clip(values / full * 255, 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _standard_colours(image: Image.Image) -> Image.Image:
    """RGB in sRGB: wide-gamut photos of phones would look pale otherwise."""
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(given).lower():
                converted = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
                return converted if converted is not None else image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # an unreadable profile: the plain conversion is the best there is
    return image.convert("RGB")
