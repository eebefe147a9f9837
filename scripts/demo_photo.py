"""Print the path of the demo's photo: Chelsea the cat, by Stefan van der Walt, CC0.

It is package data of scikit-image; finding the package does not import it.
"""

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.find_spec("skimage")
photo = Path(spec.origin).parent / "data" / "chelsea.png" if spec and spec.origin else None
if photo is None or not photo.is_file():
    sys.exit(
        "given: no photo of scikit-image in this environment\n"
        "allowed: an environment with the extra 'demo'\n"
        "fix: pip install '.[demo]'"
    )
if __name__ == "__main__":
    print(photo)
