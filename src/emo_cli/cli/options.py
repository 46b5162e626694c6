"""The command line's words: every option that making a video takes, with its help, written once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

Framing = Literal["face", "portrait", "full"]
Vocals = Literal["auto", "off", "centre", "demucs"]
Quality = Literal["draft", "fast", "best"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

# The panels of --help, and what their options share.
file = partial(Option, rich_help_panel="File and messages")
look = partial(Option, rich_help_panel="How it looks and moves")
factor = partial(look, min=0, max=3, metavar="FACTOR")
part = partial(Option, rich_help_panel="Which face, which part of the sound")
make = partial(Option, rich_help_panel="Model and machine")


def model_names(begun: str) -> list[str]:
    """For the shell's completion: known models and folders whose names go on like this."""
    from emo_cli.catalogue import known_models

    listed = (path for path in Path().glob(f"{begun}*") if begun or not path.name.startswith("."))
    folders = (str(path) for path in listed if path.is_dir())
    return sorted({*(model.name for model in known_models() if model.name.startswith(begun)), *folders})


PHOTO_HELP = "A picture with a face, in any format that Pillow reads; - takes it from standard input."
PhotoArgument = Annotated[Path, Argument(metavar="PHOTO", help=PHOTO_HELP)]
EITHER_HELP = "A picture with a face (- for standard input), or a video that shall tell how it was made."
PhotoOrVideoArgument = Annotated[Path, Argument(metavar="PHOTO", help=EITHER_HELP)]
SOUND_HELP = "Speech or song: WAV, FLAC, MP3, Ogg, M4A, or a video with sound; - takes it from standard input."
SoundArgument = Annotated[Path, Argument(metavar="SOUND", help=SOUND_HELP)]
OptionalSoundArgument = Annotated[
    Path | None, Argument(metavar="[SOUND]", help="A sound to look at as well.", show_default=False)
]

OUTPUT_HELP = (
    "Where the video goes: .mp4, .mov, .mkv or .webm. Without it: PHOTO-SOUND.mp4, named after both, "
    "in the current folder. With -: a fragmented MP4 on standard output."
)
OutputOption = Annotated[
    Path | None, file("--output", "-o", metavar="FILE", help=OUTPUT_HELP, show_default=False)
]
OverwriteOption = Annotated[bool, file("--overwrite", help="Replace the output if it exists.")]
QuietOption = Annotated[bool, file("--quiet", "-q", help="Say nothing but errors.", envvar="EMO_QUIET")]
JSON_HELP = "Print the result as one JSON object on stdout (on stderr with -o -); all else on stderr."
JsonOption = Annotated[bool, file("--json", help=JSON_HELP)]
SIGN_HELP = (
    "Sign content credentials (C2PA) into the video: two PEM files, or self for a certificate made on this machine. "
    "Needs `pip install 'emo-cli\\[c2pa]'`."
)
SignOption = Annotated[
    str | None, file("--sign", metavar="CERT,KEY", help=SIGN_HELP, show_default=False, envvar="EMO_SIGN")
]

MotionOption = Annotated[float, factor(help="How far the head moves; 0 holds it still.", envvar="EMO_MOTION")]
EXPRESSION_HELP = "How strongly the face moves besides the lips."
ExpressionOption = Annotated[float, factor(help=EXPRESSION_HELP, envvar="EMO_EXPRESSION")]
LipsOption = Annotated[float, factor(help="How far the lips move.", envvar="EMO_LIPS")]
SpeedOption = Annotated[
    float, look(min=0.1, max=3, metavar="FACTOR", help="How fast the head moves.", envvar="EMO_SPEED")
]
REGION_HELP = "How large the place is in which the face may move."
RegionOption = Annotated[float, look(min=0.1, max=3, metavar="FACTOR", help=REGION_HELP, envvar="EMO_REGION")]
POSE_HELP = "A video whose face the head follows, with models that can do so. Without it: these hold the head still."
PoseOption = Annotated[Path | None, look(metavar="VIDEO", help=POSE_HELP, show_default=False)]
FRAMING_HELP = "Show the face, head and shoulders, or the full photo with the moving face in it."
FramingOption = Annotated[Framing, look(help=FRAMING_HELP, envvar="EMO_FRAMING")]
SIZE_HELP = "Side of the square that is animated. Without it: what the model was made for."
SizeOption = Annotated[
    int | None, look(min=128, max=4096, metavar="PIXELS", help=SIZE_HELP, show_default=False, envvar="EMO_SIZE")
]
FPS_HELP = (
    "Frames per second of the video. Without it: the model's own rate. At another, frames are shown twice "
    "or left out; the lips stay in time."
)
FpsOption = Annotated[
    float | None, look(min=1, max=120, metavar="RATE", help=FPS_HELP, show_default=False, envvar="EMO_FPS")
]

FACE_HELP = "largest, left, right, a number as `emo inspect` counts, a point X,Y, or a box X,Y,W,H in pixels."
FaceOption = Annotated[str, part(metavar="WHICH", help=FACE_HELP)]
StartOption = Annotated[float, part(min=0, metavar="SECONDS", help="Where in the sound to begin.")]
DURATION_HELP = "How much of the sound to take. Without it: all the rest."
DurationOption = Annotated[
    float | None, part(min=0, metavar="SECONDS", help=DURATION_HELP, show_default=False)
]

VOCALS_HELP = (
    "Listen to the voice in the middle of a stereo song: centre does, off never, auto where it helps; "
    "demucs takes any song apart, see --separator."
)
VocalsOption = Annotated[Vocals, part(help=VOCALS_HELP, envvar="EMO_VOCALS")]

SEPARATOR_HELP = (
    "Weights of Demucs for --vocals demucs, a .safetensors file. Needs `pip install 'emo-cli\\[separate]'`."
)
SeparatorOption = Annotated[
    Path | None, part(metavar="FILE", help=SEPARATOR_HELP, show_default=False, envvar="EMO_SEPARATOR")
]

MODEL_HELP = "A known model, or the folder of one that you trained yourself."
ModelOption = Annotated[
    str, make(metavar="NAME", help=MODEL_HELP, envvar="EMO_MODEL", autocompletion=model_names)
]
DOWNLOAD_HELP = "Fetch the weights of the model first if they are not here; that can be several gigabytes."
DownloadOption = Annotated[bool, make("--download", help=DOWNLOAD_HELP, envvar="EMO_DOWNLOAD")]
SEED_HELP = "The same seed gives the same video. Without it: drawn afresh, and told at the end."
SeedOption = Annotated[
    int | None, make(min=0, metavar="NUMBER", help=SEED_HELP, show_default=False, envvar="EMO_SEED")
]
QUALITY_HELP = "Less work, less exact: best is the model as its makers recommend it; --steps and --guidance win."
QualityOption = Annotated[Quality, make(help=QUALITY_HELP, envvar="EMO_QUALITY")]
STEPS_HELP = "Denoising steps: more is slower. Without it: as the model recommends."
StepsOption = Annotated[
    int | None, make(min=1, max=1000, metavar="NUMBER", help=STEPS_HELP, show_default=False, envvar="EMO_STEPS")
]
GUIDANCE_HELP = "How closely the sound is followed; 1 is plain. Without it: as the model recommends."
GuidanceOption = Annotated[
    float | None, make(min=0, max=20, metavar="FACTOR", help=GUIDANCE_HELP, show_default=False, envvar="EMO_GUIDANCE")
]
DEVICE_HELP = "auto, cpu, cuda, cuda:1 or mps."
DeviceOption = Annotated[str, make(metavar="NAME", help=DEVICE_HELP, envvar="EMO_DEVICE")]
DTYPE_HELP = "Type of the numbers; auto is float32."
MEMORY_HELP = "How much memory the model may fill, where it is not all of a graphics card's."
MemoryOption = Annotated[
    float | None, make("--max-memory", min=0.1, metavar="GB", help=MEMORY_HELP, show_default=False, envvar="EMO_MEMORY")
]
OFFLOAD_HELP = (
    "Let layers' weights wait in main memory and visit the graphics card one by one: slow, but needs little of its "
    "memory. Done by itself where a model does not fit. Needs `pip install 'emo-cli\\[offload]'`."
)
OffloadOption = Annotated[bool, make("--offload", help=OFFLOAD_HELP, envvar="EMO_OFFLOAD")]
COMPILE_HELP = (
    "Compile the networks first: takes minutes once. What it gains here: `emo bench PHOTO SOUND --against compile=1`."
)
CompileOption = Annotated[bool, make("--compile", help=COMPILE_HELP, envvar="EMO_COMPILE")]
PrecisionOption = Annotated[Precision, make("--dtype", help=DTYPE_HELP, envvar="EMO_DTYPE")]
