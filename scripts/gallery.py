"""Write docs/gallery: reports on five photos that a package brings along, and an index of them.

Usage: python scripts/gallery.py [FOLDER] [NAME ...]
With names, only those reports are made again; the index always lists all five. Needs the extra
"demo" for the photos, and Playwright with Chromium for the pictures in the index.
"""

import importlib.util
import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

import vitrail
from vitrail.files import write_text, write_whole

KEPT = "chelsea"  # the one report that is part of every clone; the others are built
THUMBNAIL = 560  # pixels wide
WINDOW = (1120, 760)


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One report: a photo, a model, and what to look for.

    Args:
        photo: the file's name in scikit-image's data folder.
        title: of the photo.
        credit: who made it, and under what terms it may be passed on.
        model: its name.
        trained: whether to load the bundled weights; else random numbers.
        size: height and width of the input; None for the explorer's own choice.
        look: what this report teaches.
    """

    photo: str
    title: str
    credit: str
    model: str
    trained: bool
    size: tuple[int, int] | None
    look: str


EXHIBITS = {
    "chelsea": Exhibit(
        photo="chelsea.png",
        title="Chelsea the cat",
        credit="Stéfan van der Walt, CC0",
        model="swin_nano",
        trained=True,
        size=None,
        look="The place to start: take the tour. Windows, the shift that connects them, and how "
        "four tokens become one, on a photo that the model gets right.",
    ),
    "rocket": Exhibit(
        photo="rocket.jpg",
        title="A Falcon 9 carries DSCOVR into orbit",
        credit="SpaceX, public domain",
        model="swin_nano",
        trained=True,
        size=(96, 144),
        look="The same weights at three times the size they were trained on, and not square: more "
        "windows, not larger ones. Rockets are none of its ten classes; see in the audit how "
        "much its maps are worth on a photo it was not made for.",
    ),
    "coffee": Exhibit(
        photo="coffee.png",
        title="A cup of coffee",
        credit="Rachel Michetti, Pikolo Espresso Bar, CC0",
        model="pvt_v2_b0",
        trained=False,
        size=(160, 224),
        look="Spatial reduction (PVT v2): every token sees the whole picture at once, but "
        "coarsely. Choose a token and compare its keys, stage by stage, with the cat's windows.",
    ),
    "astronaut": Exhibit(
        photo="astronaut.png",
        title="Eileen Collins, astronaut",
        credit="NASA, public domain",
        model="focal_tiny",
        trained=False,
        size=(84, 84),
        look="Focal attention: a token sees its surroundings finely and what lies beyond in ever "
        "coarser cells, all in one block.",
    ),
    "hubble": Exhibit(
        photo="hubble_deep_field.jpg",
        title="Hubble eXtreme Deep Field",
        credit="NASA, ESA, public domain",
        model="vit_small",
        trained=False,
        size=(112, 128),
        look="No hierarchy at all: a ViT keeps one resolution and lets every token see every "
        "other from the first block on. Small galaxies fall between its large patches.",
    ),
}


TASKS = (
    (
        "vitrail predict cells.png --weights bundled:nuclei -o masks/",
        "nuclei.jpg",
        "Image: Broad Institute, BBBC038, CC0",
    ),
    (
        "vitrail predict smear.jpg --weights bundled:blood_cells -o boxes/",
        "blood_cells.jpg",
        "Photo: BCCD, MIT, Copyright (c) 2017 shenggan",
    ),
    (
        "vitrail predict scan.nii.gz --weights bundled:hippocampus -o parts.nii.gz",
        "hippocampus.png",
        "Volume: Medical Segmentation Decathlon, Task04; this picture is CC-BY-SA-4.0",
    ),
)
"""Pictures that scripts/task_pictures.py draws: the command, the file, whose data it shows."""


def photo(name: str) -> Path:
    """Return the path of a photo; finding scikit-image does not import it."""
    spec = importlib.util.find_spec("skimage")
    path = Path(spec.origin).parent / "data" / name if spec and spec.origin else None
    if path is None or not path.is_file():
        sys.exit(
            f"given: no photo {name} of scikit-image in this environment\n"
            "allowed: an environment with the extra 'demo'\n"
            "fix: pip install 'vitrail[demo]'"
        )
    return path


def make(exhibit: Exhibit, target: Path) -> None:
    """Write one report, the same one every time."""
    torch.manual_seed(0)
    weights = "bundled" if exhibit.trained else None
    source = "bundled" if exhibit.trained else "none: random numbers, seed 0"
    model = vitrail.create_model(exhibit.model, weights=weights).eval()
    # Scores of maps that mean nothing would mean nothing too, and take minutes.
    report = vitrail.explore(
        model, photo(exhibit.photo), size=exhibit.size, source=source, scored=exhibit.trained
    )
    report.save(target)


def picture(report: Path, target: Path) -> None:
    """Write a small picture of a report as it opens."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            viewport={"width": WINDOW[0], "height": WINDOW[1]},
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-ready=true]")
        shot = page.screenshot()
        browser.close()
    whole = Image.open(io.BytesIO(shot)).convert("RGB")
    small = whole.resize((THUMBNAIL, THUMBNAIL * whole.height // whole.width), Image.Resampling.BOX)
    flat = small.quantize(160, kmeans=2)
    write_whole(target, lambda path: flat.save(path, optimize=True))


def index() -> str:
    """Return the index: what there is, what it teaches, and whose photo it is."""
    parts = [
        "# Gallery",
        "Five reports of `vitrail explore`, each one HTML file that works offline. A clone holds "
        f"[{KEPT}.html]({KEPT}.html); `make gallery` builds all five into this folder. GitHub "
        "shows the source of such a file: download it, or open it from a clone.",
        "The photos come with scikit-image. Only `swin_nano` has "
        "trained weights here (CIFAR-10); the other models hold random numbers: their windows, "
        "keys, reach and cost are real, their answers and maps mean nothing.",
    ]
    for name, exhibit in EXHIBITS.items():
        shown = f"![The report on {exhibit.title}]({name}.png)"
        kind = "trained" if exhibit.trained else "untrained"
        parts += [
            f"## {exhibit.title}",
            f"[{shown}]({name}.html)" if name == KEPT else shown,
            f"`{name}.html` · `{exhibit.model}`, {kind}",
            exhibit.look,
            f"Photo: {exhibit.credit}.",
        ]
    parts += [
        "## Masks and boxes",
        "What the weights for other tasks answer (`python scripts/task_pictures.py DATA`); figures "
        "are in [the results](../results.md).",
    ]
    for command, file, credit in TASKS:
        parts += [f"![{command}](../images/{file})", f"`{command}`. {credit}."]
    return "\n\n".join(parts) + "\n"


def main(folder: Path, names: list[str]) -> None:
    """Write the reports, their pictures and the index."""
    for name in names:
        if name not in EXHIBITS:
            sys.exit(
                f"given: {name}\nallowed: {', '.join(EXHIBITS)}\nfix: leave the names out for all"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or EXHIBITS:
        report = folder / f"{name}.html"
        make(EXHIBITS[name], report)
        picture(report, folder / f"{name}.png")
        print(f"{report}: {report.stat().st_size / 1e6:.2f} MB")
    write_text(folder / "index.md", index())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/gallery"), sys.argv[2:])
