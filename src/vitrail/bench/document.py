"""The comparison in words and tables: one Markdown page, from the numbers alone."""

from collections.abc import Iterable, Sequence
from typing import Any

from vitrail.bench.comparison import ending

PLOTS = {
    "flops": "FLOPs of a forward pass (closed form; a multiply-add is two)",
    "seconds": "Seconds of a forward pass",
    "peak_bytes": "Most bytes alive in a forward pass, without weights and input",
}


def page(result: dict[str, Any]) -> str:
    """Return the document.

    Args:
        result: what `vitrail compare` found, as it stands in its JSON.
    """
    parts = [
        _head(result), _main_table(result), _growth_table(result), _plots(), _context(result),
        _claims(result), _tradeoffs(result), _ablation(result),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        "# Ways to attend, side by side\n\n"
        "Written by `vitrail compare` (`make compare` in a clone); every number below is computed "
        "or measured by it and stands in [comparison.json](comparison.json).\n\n"
        f"Measured with torch {machine['torch']} on {machine['processor']}, threads: "
        f"{machine['threads']}, batch of one, float32, untrained weights; the fastest of at "
        f"most three passes, a pass ended after {machine['limit']:g} s. Sizes: "
        f"{', '.join(map(str, result['sizes']))} samples along both axes."
    )


def _main_table(result: dict[str, Any]) -> str:
    lines = []
    for row in result["rows"]:
        scales = len({tuple(stride) for stride in row["strides"]})
        multi = f"{scales} stages" if scales > 1 else "no: one resolution"
        if row["key_scales"] > 1:
            multi += f", {row['key_scales']} scales of keys in a block"
        exponents = row["exponents"]
        lines.append(
            (row["mechanism"], f"`{row['model']}`", f"{row['law']} ({row['terms']})",
             *(_power(exponents[k]) for k in ("attention_flops", "flops", "seconds", "peak_bytes")),
             _from(row["context"]["global_from"]), multi, ending(row["growth"]))
        )  # fmt: skip
    head = ("mechanism", "model", "pairs on N tokens", "attention FLOPs", "all FLOPs", "time",
            "memory", "global context after", "multi-scale", "measured")  # fmt: skip
    return (
        "## The table\n\n"
        "Exponents are slopes of log(cost) over log(samples), by least squares over all sizes "
        "measured, and in brackets between the last two: 1 is linear in the number of samples, 2 "
        "quadratic.\n\n" + _table(head, lines)
    )


def _growth_table(result: dict[str, Any]) -> str:
    sizes = result["sizes"]
    lines = []
    for row in result["rows"]:
        at = {point["size"]: point for point in row["growth"]}
        lines.append((f"`{row['model']}`", *(_point(at.get(size)) for size in sizes)))
    return "Seconds and GB of one forward pass:\n\n" + _table(("model", *map(str, sizes)), lines)


def _point(point: dict[str, Any] | None) -> str:
    if point is None:
        return "–"
    if point["seconds"] is None:
        return "out of memory" if point["ended"] == "memory" else "out of time"
    if point["peak_bytes"] is None:
        return f"{point['seconds']:.3g} s"
    return f"{point['seconds']:.3g} s, {point['peak_bytes'] / 1e9:.2g} GB"


def _plots() -> str:
    return "\n\n".join(
        f"![{title}]({name}.png)\n\n[as SVG]({name}.svg)" for name, title in PLOTS.items()
    )


def _context(result: dict[str, Any]) -> str:
    rows = result["rows"]
    size = rows[0]["context"]["size"] if rows else ()
    lines = []
    for row in rows:
        stages = row["context"]["stages"]
        cells = [
            f"{'×'.join(map(str, stage['extent']))}, {stage['least_share']:.0%}" for stage in stages
        ]
        lines.append((f"`{row['model']}`", *cells, *("",) * (4 - len(cells))))
    head = ("model", *(f"end of stage {stage}" for stage in (1, 2, 3, 4)))
    return (
        f"## Context, stage by stage\n\nWith {'×'.join(map(str, size))} samples: the box of those "
        "that can influence the middle token, and the least share of the input that the first, "
        "middle or last token sees. It follows from the patterns and equals the support of the "
        "gradient.\n\n" + _table(head, lines)
    )


def _claims(result: dict[str, Any]) -> str:
    facts = result["claims"]
    focal, right, wrong = facts["granularity"], facts["permuted"], facts["unpermuted"]
    practice = result.get("practice")
    lines = [
        "## Claims, and their numbers\n",
        '- **"Windows of M = 7 save a factor of 49."** The factor is N/M², so it depends on the '
        f"map: {facts['saving_56']:g} at 56 × 56 tokens (224 pixels, patches of 4); it is "
        f"{facts['saving_49']:g} only at 49 × 49.",
        '- **"Focal attention adapts its granularity to the content."** It does not: which keys '
        "are fine and which pooled depends on position alone, in the official code too. With "
        f"three contents, {focal['support_changes']} pairs of tokens change whether they can "
        f"influence one another, and a token's share in its pooled key changes by "
        f"{focal['pooling_changes']:.0e}, while the layer's output changes by "
        f"{focal['output_changes']:.2f}.",
        "- **A qkv reshape without its permutation** attends over heads: its scores are "
        f"{wrong['scores'][0]} × {wrong['scores'][1]} (heads) instead of {right['scores'][0]} × "
        f"{right['scores'][1]} (tokens), and {wrong['influences']} token instead of "
        f"{right['influences']} influences the first. Shapes fit, nothing fails.",
        f"- **A shift that is never undone** moves what attention returns: after twelve blocks "
        f"with windows of 7, {facts['drift_tokens']} of 56 tokens from where it belongs.",
    ]
    if practice:
        lines[-1] += (
            f" Without the unshift `{practice['model']}`'s answers on {practice['photos']} photos "
            f"overlap with its right ones by {practice['agreement_without_unshift']:.0%}."
        )
    return "\n".join(lines)


def _tradeoffs(result: dict[str, Any]) -> str:
    by_window: dict[int, list[str]] = {}
    for row in result["waste"]:
        text = f"{row['mean']:.0%}, {row['worst']:.0%} ({row['size_of_worst']})"
        by_window.setdefault(row["window"], []).append(text)
    text = (
        "## What windows cost\n\n**Padding.** Share of the places in windows that hold padding, "
        "over all square sizes from 192 to 512: mean, and worst (at this size).\n\n"
    )
    lines = [(f"{window} × {window}", *cells) for window, cells in by_window.items()]
    text += _table(("window", "stride 4", "stride 8", "stride 16", "stride 32"), lines)
    practice = result.get("practice")
    if practice:
        without = {seam["stage"]: seam["ratio"] for seam in practice["unshifted"]}
        lines = [
            (seam["stage"] + 1, f"{seam['ratio']:.2f}", f"{without[seam['stage']]:.2f}")
            for seam in practice["shifted"]
        ]
        text += (
            "\n\n**Seams.** How much more neighbouring features differ across the seams of regular "
            f"windows than elsewhere: `{practice['model']}` with its trained weights, "
            f"{practice['photos']} photos at {practice['size']} × {practice['size']}; 1.00 means "
            "that the seam cannot be seen. Off: the same weights with every shift set to zero, "
            "for which they were not trained.\n\n"
        ) + _table(("end of stage", "shift on", "shift off"), lines)
    return text + "\n\n**Context in early layers:** see the table by stage above."


def _ablation(result: dict[str, Any]) -> str:
    facts = result.get("ablation")
    if not facts:
        return ""
    full = facts["top1"]["nothing"]
    lines = [
        (name, f"{top1:.2%}", f"{(top1 - full) * 100:+.2f} points")
        for name, top1 in facts["top1"].items()
    ]
    words = " ".join(facts["options"])
    return (
        "## Training advice, left out one at a time\n\n`vitrail train` of `swin_nano` on "
        f"{facts['data']}, {facts['epochs']} epochs, "
        + (f"with `{words}`, " if words else "")
        + "one run each with the same seed: what differs by a point or less, another seed may turn "
        "round. A run this short shows what speeds learning up; what augmentation, biases and "
        "shifts are worth in a long one is not measured here.\n\n"
        + _table(("left out", "best validation top-1", "difference"), lines)
    )


def _power(facts: dict[str, Any]) -> str:
    if facts["all"] is None:
        return "–"
    return f"{facts['all']:.2f} ({facts['last']:.2f})"


def _from(place: Sequence[int] | None) -> str:
    return "never" if place is None else f"stage {place[0] + 1}, block {place[1] + 1}"


def _table(head: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    names = list(head)
    rows = [names, ["---"] * len(names), *([str(cell) for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
