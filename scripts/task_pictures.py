"""Draw what the bundled weights of each task answer, for the README and the gallery.

Usage: python scripts/task_pictures.py ../shared/data
"""

import io
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

import vitrail

HERE = Path(__file__).parent.parent / "docs" / "images"
SHOWN = {
    "nuclei": ("images/ef3ef194e5657fda.png", "jpg"),
    "blood_cells": ("BloodImage_00017.jpg", "jpg"),
    "hippocampus": ("images/hippocampus_074.nii.gz", "png"),
}
HEIGHT = 256


def main(data: Path) -> None:
    """Predict one input of each validation set."""
    for name, (member, suffix) in SHOWN.items():
        with zipfile.ZipFile(data / name / "val.zip") as archive:
            file = archive.read(member)
        model = vitrail.load(f"bundled:{name}")
        if member.endswith(".nii.gz"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / Path(member).name
                path.write_bytes(file)
                drawn = vitrail.predict(model, path).draw()
        else:
            drawn = vitrail.predict(model, Image.open(io.BytesIO(file)).convert("RGB")).draw()
        shape = (round(drawn.width * HEIGHT / drawn.height), HEIGHT)
        target = HERE / f"{name}.{suffix}"
        drawn.resize(shape).save(target, **({"quality": 88} if suffix == "jpg" else {}))
        print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
