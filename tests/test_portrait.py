"""Photos of every kind: read upright or refused with a sentence; faces chosen, framed, masked and pasted back."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from emo_cli import portrait
from emo_cli.errors import FaceError, InputError, UsageError
from emo_cli.face.finder import tilt
from emo_cli.portrait import Box, Portrait

PHOTO = Path(__file__).parents[1] / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def person() -> Image.Image:
    return Image.open(PHOTO).convert("RGB")


@pytest.fixture(scope="module")
def couple(person: Image.Image) -> bytes:
    """A smaller face on the left, a larger one on the right, 900 x 512."""
    picture = Image.new("RGB", (900, 512), (60, 70, 80))
    picture.paste(person.resize((360, 360)), (10, 76))
    picture.paste(person, (388, 0))
    return encoded(picture)


@pytest.fixture(scope="module")
def whole() -> Portrait:
    return portrait.read(PHOTO)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises many pixels and holds none."""
    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def gradient() -> Image.Image:
    """96 x 80, every corner another colour."""
    x, y = np.meshgrid(np.linspace(0, 255, 96), np.linspace(0, 255, 80))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other.astype(int))


# --- reading photos ---


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_come_back_pixel_by_pixel(kind: str) -> None:
    image = gradient()
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(portrait.decode_photo(encoded(image, kind, **options)), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int) -> None:
    turns = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image = gradient()
    stored = image if turns[orientation] is None else image.transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = portrait.decode_photo(encoded(stored, "PNG", exif=exif))
    assert np.array_equal(read, np.asarray(image))


def test_transparent_parts_show_mid_grey() -> None:
    pixels = np.zeros((80, 80, 4), np.uint8)
    pixels[:40] = (255, 0, 0, 255)
    read = portrait.decode_photo(encoded(Image.fromarray(pixels)))
    assert (read[:40] == (255, 0, 0)).all()
    assert (read[40:] == 128).all()


def test_a_palette_with_a_transparent_colour_shows_mid_grey_there() -> None:
    image = Image.new("P", (80, 80), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 80, 40))
    read = portrait.decode_photo(encoded(image, "GIF", transparency=0))
    assert (read[:40] == (200, 100, 50)).all()
    assert (read[40:] == 128).all()


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    values = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (80, 1))
    read = portrait.decode_photo(encoded(Image.fromarray(values)))
    assert difference(read[0], np.repeat(np.arange(256)[:, None], 3, 1)).max() <= 1


def test_sixteen_bit_grey_that_is_dark_stays_dark() -> None:
    values = np.full((80, 80), 2570, np.uint16)
    assert (portrait.decode_photo(encoded(Image.fromarray(values))) == 10).all()


def test_cmyk_is_read_as_the_same_colours() -> None:
    image = gradient()
    read = portrait.decode_photo(encoded(image.convert("CMYK"), "JPEG", quality=95))
    assert difference(read, np.asarray(image)).mean() < 4


def test_grey_and_black_and_white_pictures_are_read() -> None:
    grey = portrait.decode_photo(encoded(gradient().convert("L")))
    black = portrait.decode_photo(encoded(Image.new("1", (64, 64), 0)))
    assert grey.shape == (80, 96, 3) and (grey[..., 0] == grey[..., 2]).all()
    assert black.shape == (64, 64, 3) and not black.any()


def test_an_animation_gives_its_first_frame() -> None:
    first, second = Image.new("RGB", (70, 70), (200, 0, 0)), Image.new("RGB", (70, 70), (0, 0, 200))
    content = encoded(first, "GIF", save_all=True, append_images=[second])
    assert (portrait.decode_photo(content)[0, 0] == (200, 0, 0)).all()


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = gradient()
    assert np.array_equal(portrait.decode_photo(encoded(image, icc_profile=profile)), np.asarray(image))


def test_an_unreadable_profile_is_passed_over() -> None:
    image = gradient()
    assert np.array_equal(portrait.decode_photo(encoded(image, icc_profile=b"x" * 200)), np.asarray(image))


def heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_photos_of_phones_are_read_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = gradient() if orientation == 1 else gradient().rotate(90 if orientation == 8 else -90, expand=True)
    read = portrait.decode_photo(heic(gradient(), exif=exif.tobytes()))
    assert difference(read, np.asarray(upright)).mean() < 4


def test_a_heic_photo_is_refused_like_others_when_it_is_damaged_or_of_a_wrong_size() -> None:
    whole = heic(gradient())
    for content, sentence in ((whole[:-500], "cut off or damaged"), (heic(gradient().resize((96, 60))), "too small")):
        with pytest.raises(InputError, match=sentence):
            portrait.decode_photo(content)


def test_without_the_extra_a_heic_photo_is_told_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"is HEIC\. Run `pip install 'emo-cli\[heic\]'`, or save it as JPEG\."):
        portrait.decode_photo(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(100))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow knows no AVIF")
def test_avif_is_read() -> None:
    read = portrait.decode_photo(encoded(gradient(), "AVIF", quality=95))
    assert difference(read, np.asarray(gradient())).mean() < 4


def test_where_pillow_knows_no_avif_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {kind: how for kind, how in Image.OPEN.items() if kind != "AVIF"})
    with pytest.raises(InputError, match="is AVIF.*pillow>=11.3"):
        portrait.decode_photo(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(100))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"Dear diary, this is no picture at all.\n" * 20, "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "."),
        (png_header(60_000, 60_000), "too large"),
        (png_header(9_000, 12_000), "too large"),
        (png_header(40_000, 100), "too large"),
        (png_header(500, 400), "cut off or damaged"),
        (encoded(Image.new("RGB", (1, 1))), "too small"),
        (encoded(Image.new("RGB", (500, 63))), "too small"),
        (PHOTO.read_bytes()[:20_000], "cut off or damaged"),
        (encoded(gradient())[:-200], "cut off or damaged"),
    ],
    ids=[
        "empty", "text", "postscript", "only a signature", "bomb", "108 megapixels", "ribbon", "no pixels",
        "one pixel", "low", "cut jpeg", "cut png",
    ],
)  # fmt: skip
def test_what_is_no_usable_picture_is_refused_with_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        portrait.decode_photo(content)
    assert str(caught.value).endswith(".")


def test_missing_files_folders_and_renamed_text_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("not a picture")
    for name, sentence in (("gone.png", "does not exist"), ("", "is a folder"), ("letter.jpg", "not a picture")):
        with pytest.raises(InputError, match=sentence) as caught:
            portrait.decode_photo(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_damage_anywhere_in_a_file_never_escapes_as_another_error() -> None:
    content = encoded(gradient(), "TIFF")
    random = np.random.default_rng(3)
    for _ in range(60):
        broken = bytearray(content)
        for place in random.integers(0, 300, 6):
            broken[int(place) if place < 150 else -int(place)] = int(random.integers(0, 256))
        try:
            read = portrait.decode_photo(bytes(broken))
        except InputError:
            continue
        assert read.dtype == np.uint8 and read.shape[2] == 3


# --- choosing a face ---


@pytest.mark.parametrize(
    ("wish", "middle"),
    [("largest", 649), ("right", 649), ("left", 194), ("1", 649), ("2", 194), ("190,240", 194),
     ("560,130,190,210", 649), ("130,160,140,160", 194)],
)  # fmt: skip
def test_the_face_that_was_asked_for_is_taken(couple: bytes, wish: str, middle: int) -> None:
    chosen = portrait.read(couple, face=wish)
    found = chosen.crop.x + chosen.face.centre[0] * chosen.crop.width / 512
    assert found == pytest.approx(middle, abs=12)


def test_faces_are_listed_largest_first(couple: bytes) -> None:
    first, second = portrait.find_faces(portrait.decode_photo(couple))
    assert first.box.area > second.box.area


def test_a_portrait_tells_of_all_faces_and_nobody_looks_for_them_twice(couple: bytes) -> None:
    first, second = portrait.read(couple, face="2").faces or ()
    assert first.box.area > second.box.area
    assert portrait.read(couple, face="560,130,190,210").faces is None  # only inside the box


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [("3", "from 1 to 2"), ("0", "from 1 to 2"), ("5,5", "no face at 5,5"), ("880,490,15,15", "No face found"),
     ("2000,2000,50,50", "lies outside"), ("10,10,0,0", "lies outside")],
)  # fmt: skip
def test_a_face_that_is_not_there_is_a_face_error(couple: bytes, wish: str, sentence: str) -> None:
    with pytest.raises(FaceError, match=sentence):
        portrait.read(couple, face=wish)


@pytest.mark.parametrize("wish", ["middle", "1,2,3", "1;2", "", "-1", "nan,nan", "1,2,3,4,5"])
def test_a_wish_that_makes_no_sense_is_a_usage_error(wish: str) -> None:
    with pytest.raises(UsageError, match="Give largest, left, right"):
        portrait.read(PHOTO, face=wish)


def test_a_picture_without_a_face_is_refused_with_the_next_step(tmp_path: Path) -> None:
    gradient().save(tmp_path / "wall.png")
    with pytest.raises(FaceError, match="No face found in .*wall.png. Crop it closer, or give the box"):
        portrait.read(tmp_path / "wall.png")


# --- framing ---


def test_a_head_and_shoulders_square_is_kept_whole(whole: Portrait) -> None:
    assert whole.crop == Box(0, 0, 512, 512)
    assert np.array_equal(whole.image, whole.photo)


def test_a_portrait_fits_together(whole: Portrait) -> None:
    assert whole.image.shape == (512, 512, 3) and whole.image.dtype == np.uint8
    assert whole.landmarks.shape == (478, 3) and whole.landmarks.dtype == np.float32
    assert whole.mask.shape == (512, 512) and whole.mask.dtype == np.float32
    assert whole.score > 0.95 and whole.identity is None
    assert all(whole.face.contains(x, y) for x, y, _ in whole.landmarks[5:-10:20])


def test_face_framing_is_tighter_and_still_holds_the_face(whole: Portrait) -> None:
    tight = portrait.read(PHOTO, framing="face")
    assert tight.crop.width < 0.75 * whole.crop.width
    assert tight.face.x > 0 and tight.face.y > 0
    assert tight.face.x + tight.face.width < 512 and tight.face.y + tight.face.height < 512


def test_landmarks_lie_on_the_same_spots_in_the_crop_and_in_the_photo(whole: Portrait) -> None:
    tight = portrait.read(PHOTO, framing="face", size=256)
    back = tight.landmarks * (tight.crop.width / 256) + [tight.crop.x, tight.crop.y, 0]
    assert np.abs(back - whole.landmarks).max() < 0.01


@pytest.mark.parametrize("framing", ["face", "portrait", "full"])
def test_a_small_face_is_framed_inside_the_photo(person: Image.Image, framing: portrait.Framing) -> None:
    picture = Image.new("RGB", (1200, 700), (100, 90, 80))
    picture.paste(person.resize((300, 300)), (880, 20))
    crop = portrait.read(encoded(picture), framing=framing).crop
    assert crop.x >= 0 and crop.y >= 0 and crop.x + crop.width <= 1200 and crop.y + crop.height <= 700
    assert crop.width == crop.height == round(crop.width)


def test_a_photo_cut_closely_around_a_face_is_extended(person: Image.Image) -> None:
    tight = portrait.read(encoded(person.crop((165, 120, 360, 345))))
    assert tight.crop.x < 0
    assert tight.image.shape == (512, 512, 3)
    assert tight.face.x > 0 and tight.face.x + tight.face.width < 512


def test_a_tiny_photo_is_enlarged(person: Image.Image) -> None:
    assert portrait.read(encoded(person.resize((96, 96)))).image.shape == (512, 512, 3)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_on_its_side_is_turned_by_the_face(person: Image.Image, whole: Portrait, quarters: int) -> None:
    lying = np.rot90(np.asarray(person), quarters)
    turned = portrait.read(encoded(Image.fromarray(np.ascontiguousarray(lying))))
    assert np.array_equal(turned.photo, whole.photo)
    assert abs(tilt(turned.landmarks)) < 0.1
    assert np.linalg.norm((turned.landmarks - whole.landmarks)[:, :2], axis=1).mean() < 2.5


def test_a_head_held_askew_is_left_as_it_is(person: Image.Image) -> None:
    askew = person.rotate(-40, Image.Resampling.BICUBIC)
    read = portrait.read(encoded(askew))
    assert np.array_equal(read.photo, np.asarray(askew))
    assert tilt(read.landmarks) == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("size", [511, 0, 62])
def test_a_size_that_no_video_can_have_is_a_usage_error(size: int) -> None:
    with pytest.raises(UsageError, match="even number"):
        portrait.read(PHOTO, size=size)


def test_an_unknown_framing_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Choose face, portrait or full"):
        portrait.read(PHOTO, framing="wide")  # type: ignore[arg-type]


# --- mask and paste-back ---


def test_the_mask_covers_face_hair_and_neck_and_leaves_the_corners(whole: Portrait) -> None:
    mask = whole.mask
    assert mask.min() >= 0 and mask.max() <= 1
    inside = whole.landmarks[:468, :2].round().astype(int)
    assert mask[inside[:, 1], inside[:, 0]].min() > 0.9
    assert mask[int(whole.face.y - 0.25 * whole.face.height), int(whole.face.centre[0])] > 0.8
    assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0


def test_the_masks_edge_is_soft(whole: Portrait) -> None:
    assert np.abs(np.diff(whole.mask, axis=0)).max() < 0.1
    assert np.abs(np.diff(whole.mask, axis=1)).max() < 0.1


def test_an_unchanged_frame_at_full_size_gives_the_photo_back(whole: Portrait) -> None:
    assert np.array_equal(whole.compose(whole.image), whole.photo)


@pytest.mark.parametrize("framing", ["face", "full"])
def test_an_unchanged_frame_of_an_enlarged_crop_gives_the_photo_back(couple: bytes, framing: portrait.Framing) -> None:
    part = portrait.read(couple, framing=framing, face="left")
    assert part.crop.width < 512
    assert difference(part.compose(part.image), part.photo).max() <= 1


def test_an_unchanged_frame_of_a_reduced_crop_gives_nearly_the_photo_back(person: Image.Image) -> None:
    large = portrait.read(encoded(person.resize((1100, 1100), Image.Resampling.BICUBIC)), framing="full")
    assert large.crop.width == 1100
    error = difference(large.compose(large.image), large.photo)
    assert error.mean() < 1
    assert np.quantile(error, 0.95) <= 5


def test_nothing_changes_outside_the_crop_and_everything_in_the_middle_of_the_face(couple: bytes) -> None:
    part = portrait.read(couple, framing="full", face="left")
    crop = part.crop
    blue = np.zeros_like(part.image)
    blue[..., 2] = 255
    composed = part.compose(blue)
    assert composed.shape == part.photo.shape
    untouched = np.ones(part.photo.shape[:2], bool)
    rows = slice(int(crop.y), int(crop.y + crop.height))
    untouched[rows, int(crop.x) : int(crop.x + crop.width)] = False
    assert np.array_equal(composed[untouched], part.photo[untouched])
    x, y = part.face.centre
    scale = crop.width / 512
    middle = composed[int(crop.y + y * scale), int(crop.x + x * scale)]
    assert difference(middle, np.array([0, 0, 255])).max() <= 4


def test_no_seam_shows_where_the_crop_ends(couple: bytes) -> None:
    part = portrait.read(couple, framing="face", face="left")
    assert part.mask[:, 0].max() > 0.2 or part.mask[0].max() > 0.2, "the mask must reach the crop's border here"
    brighter = np.clip(part.image.astype(int) + 60, 0, 255).astype(np.uint8)
    change = part.compose(brighter).astype(int) - part.photo
    top, left, side = int(part.crop.y), int(part.crop.x), int(part.crop.width)
    border = [change[top, left : left + side], change[top : top + side, left]]
    assert max(np.abs(edge).max() for edge in border) <= 2
    assert change.max() > 40


def test_an_extended_crop_is_pasted_back_without_its_mirror_image(person: Image.Image) -> None:
    tight = portrait.read(encoded(person.crop((165, 120, 360, 345))), framing="full")
    composed = tight.compose(tight.image)
    assert composed.shape == (225, 195, 3)
    assert difference(composed, tight.photo).max() <= 1


def test_a_frame_of_another_size_does_not_fit(whole: Portrait) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        whole.compose(np.zeros((256, 256, 3), np.uint8))
