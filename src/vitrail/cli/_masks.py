"""How `vitrail predict` writes and shows masks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.cli._failures import printable
from vitrail.errors import UsageError
from vitrail.files import check_apart, check_folder, check_writable

if TYPE_CHECKING:
    from rich.console import Console

    from vitrail.tasks.segmentation import Segmentation

TABLES, _MASKS = (".json", ".csv"), (".png", ".tif", ".tiff")
OVERLAY = "-overlay.jpg"


def mask_files(output: Path | None, photos: list[str], *read: str | None) -> dict[str, Path]:
    """Return the file for the mask of each photo; none where no masks are written.

    Args:
        output: a file of one mask, a folder for several, or a table of numbers.
        photos: their names.
        read: other files that are read, which may not be written over.
    Raises:
        UsageError: two photos would have one file, or it cannot be written.
    """
    if output is None or output.suffix.lower() in TABLES:
        return {}
    if output.suffix.lower() in _MASKS:
        if len(photos) > 1:
            raise UsageError(
                given=f"--output {output} for the masks of {len(photos)} photos",
                allowed="a folder, or one photo",
                fix=f"use --output {output.with_suffix('')}",
            )
        check_writable(output)
        targets = {photos[0]: output}
    else:
        from PIL import Image

        if output.suffix.lower() in Image.registered_extensions() and not output.is_dir():
            raise UsageError(
                given=f"--output {output}, a picture ending in {output.suffix}",
                allowed="a mask ending in .png or .tif, or a folder",
                fix=f"use --output {output.with_suffix('.png')}",
            )
        check_folder(output, "--output")
        stems = {name: "photo" if name == "-" else Path(name).stem for name in photos}
        targets = {name: output / f"{stem}.png" for name, stem in stems.items()}
    by_file: dict[Path, str] = {}
    for name, path in targets.items():
        if by_file.setdefault(path, name) != name:
            raise UsageError(
                given=f"{by_file[path]} and {name}, whose masks would both be {path}",
                allowed="photos of different names for one folder of masks",
                fix="predict them one after the other, each with a folder of its own",
            )
        for file in (path, overlay_of(path)):
            check_apart(file, *photos, *read)
    return targets


def overlay_of(mask: Path) -> Path:
    """Return where the photo with the mask over it is written."""
    return mask.with_name(mask.stem + OVERLAY)


def answer(found: "Segmentation", path: Path | None) -> dict[str, Any]:
    """Return a photo's numbers, and write its mask and the photo with it, if anywhere."""
    row = found.as_dict()
    if path is not None:
        found.save(path)
        found.save(overlay_of(path))
        row |= {"mask": str(path), "overlay": str(overlay_of(path))}
    return row


def print_masks(out: "Console", answer: dict[str, Any], block: str) -> None:
    """Print the share of each class that is there, the number of objects, and what was written."""
    from rich.text import Text

    from vitrail.explorer import single_line

    if "objects" in answer:
        out.print(f"  {answer['objects']:,} object{'' if answer['objects'] == 1 else 's'}")
    rows = [row for row in answer["classes"] if row["pixels"]]
    width = max(len(single_line(row["class"])) for row in rows)
    for row in rows:
        out.print(f"  {single_line(row['class']):<{width}} {row['share']:6.1%} ", end="")
        out.print(Text(block * round(30 * row["share"]), style="blue"))
    for kind in ("mask", "overlay"):
        if kind in answer:
            # Whole and on one line, to be copied: a path may be longer than what is only a name.
            where = printable(answer[kind].replace("\n", "?"))
            out.print(Text(f"  {kind}: {where}", style="dim"), soft_wrap=True)
