"""Write src/vitrail/explorer/costs.json: what each mechanism costs at several input sizes."""

import json
from pathlib import Path

from vitrail.explorer.costs import KNOWN, MECHANISMS, SIZES, curve
from vitrail.models import CATALOG

FILE = Path(__file__).parent.parent / "src/vitrail/explorer/costs.json"


def main() -> None:
    """Compute every curve; takes a minute or two."""
    names = [*(name for _, name in MECHANISMS.values()), *KNOWN]
    models = {name: curve(CATALOG[name].model, CATALOG[name].config) for name in names}
    # One line a curve: a change shows in a diff.
    rows = ",\n".join(f'  "{name}": {json.dumps(curve)}' for name, curve in models.items())
    FILE.write_text(
        f'{{\n "sizes": {json.dumps(SIZES)},\n "models": {{\n{rows}\n }}\n}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
