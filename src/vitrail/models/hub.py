"""A model's own file, and the hub: ``save_pretrained``, ``from_pretrained``, ``push_to_hub``."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import ModelHubMixin
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.files import whole_or_absent
from vitrail.models.config import BackboneConfig, as_tuples
from vitrail.models.download import download
from vitrail.models.parts import place_of
from vitrail.models.preprocessing import Preprocessing
from vitrail.models.tensors import check_dense, copy_all, count_not_finite
from vitrail.models.words import check_fields

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing

FILE_NAME = "model.safetensors"
# Sizes that no weight shows, and that decide how much memory a forward pass takes.
_UNSEEN = ("window", "windows", "pretrained_window", "grid", "pooled", "patch", "merge",
           "reductions", "margins", "levels", "block", "count", "prefix")  # fmt: skip
_TOKENS = 1 << 14  # of a window, say: the largest published one has 1,024


@dataclass(frozen=True)
class Description:
    """What a file of ours says about its model.

    Args:
        model: class of the model.
        config: its configuration.
        preprocessing: the input of its weights.
        name: its name in the catalog, if it has one.
    """

    model: type[Any]
    config: Any
    preprocessing: Preprocessing
    name: str | None


def metadata(model: Any) -> dict[str, str]:
    """Return what a file must say besides its tensors, for the model to be built again."""
    return {
        "format": "vitrail",
        "model": type(model).__name__,
        "name": model.name or "",
        "config": json.dumps(asdict(model.config)),
        "preprocessing": json.dumps(asdict(model.preprocessing)),
        **model.more_metadata(),
    }


def described(
    meta: Mapping[str, str], models: Mapping[str, type[Any]], state: Mapping[str, Tensor]
) -> Description:
    """Return what ``metadata`` wrote down; fields that this version does not know are left out.

    Args:
        meta: what a file says besides its tensors.
        models: the classes of models that it may be of, by name.
        state: its tensors, which have to be of as many blocks and of these shapes: no memory is
            taken for a description that is larger than its file.
    Raises:
        UsageError: a description of no model, or of another than the tensors'.
    """
    try:
        named = meta.get("backbone" if "task" in meta else "model", "")
        model = models.get(named)
        if model is None:
            raise ValueError(f"model {named!r}")
        stored = _as_tuples_of(json.loads(meta["config"]))
        known = {field.name for field in fields(model.config_class)}
        config = model.config_class(**{k: v for k, v in stored.items() if k in known})
        preprocessing = Preprocessing(**_as_tuples_of(json.loads(meta["preprocessing"])))
        _check_description(config, preprocessing, state)
        for key, tensor in empty(model, config).state_dict().items():
            if key in state and state[key].shape != tensor.shape:
                shapes = f"{tuple(state[key].shape)} in the file, {tuple(tensor.shape)} by it"
                raise ValueError(f"{key}: {shapes}")
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise undescribed(error, f"one of {', '.join(models)}") from error
    return Description(model, config, preprocessing, meta.get("name") or None)


def undescribed(error: Exception, wanted: str) -> UsageError:
    """Return the error for a file whose description is damaged, or of a later version."""
    given = error.given if isinstance(error, UsageError) else str(error)
    return UsageError(
        f"a Vitrail file whose description cannot be used ({given[:300]})",
        f"a description of {wanted}",
        "it may be damaged: fetch or copy it again; or come from a later version: upgrade vitrail",
    )


def _check_description(
    config: BackboneConfig, preprocessing: Preprocessing, state: Mapping[str, Tensor]
) -> None:
    """Refuse a description of another number of blocks or classes than there is elsewhere."""
    built = len(config.depths) if config.out_indices is None else config.out_indices[-1] + 1
    blocks = len({where[1:] for where in map(place_of, state) if where.block is not None})
    if sum(config.depths[:built]) != blocks:
        raise ValueError(f"depths {config.depths[:built]}, weights of {blocks} blocks")
    for name in _UNSEEN:
        if (tokens := _largest(getattr(config, name, None))) > _TOKENS:
            raise ValueError(f"{name} of {tokens:,} tokens, where {_TOKENS:,} are the most")
    names = preprocessing.classes
    headed = config.out_indices is None and config.num_classes > 0
    if names is not None and headed and len(names) != config.num_classes:
        raise ValueError(f"{len(names)} names for {config.num_classes} classes")


def _largest(value: Any) -> int:
    """Return the largest number of tokens in a size, or in a tuple of sizes; 0 for other values."""
    if isinstance(value, int):
        return value
    if not isinstance(value, tuple) or not value:
        return 0
    if all(isinstance(length, int) for length in value):
        return math.prod(value)
    return max(map(_largest, value))


def _as_tuples_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON object with tuples for its lists."""
    return {key: as_tuples(value) for key, value in stored.items()}


def write(path: Path, state: dict[str, Tensor], meta: dict[str, str]) -> None:
    """Write a safetensors file that is either whole or absent."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with whole_or_absent(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=meta)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and what it says besides.

    Raises:
        UsageError: the file is damaged.
        OSError: it cannot be opened.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # whatever a hostile header makes of the reader
        raise UsageError(
            f"{path}, a safetensors file that cannot be read ({str(error)[:200]})",
            "a whole safetensors file",
            "it may be cut short: fetch or copy it again",
        ) from error


def empty(model: type[Any], config: Any, **about: Any) -> Any:
    """Build a model without memory, of a configuration that a file may have brought.

    Raises:
        UsageError: torch cannot build it.
    """
    try:
        with torch.device("meta"):
            return model(config, **about)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise UsageError(
            f"a configuration that no model can be built of ({str(error).splitlines()[0][:200]})",
            "sizes that torch can hold",
            "the file may be damaged: fetch or copy it again",
        ) from error


class HubModel(ModelHubMixin, tags=["vitrail"], library_name="vitrail"):
    """Gives a backbone the methods of huggingface_hub's mixin, on top of its own file format."""

    config: Any
    preprocessing: Preprocessing

    def _save_pretrained(self, save_directory: Path) -> None:
        assert isinstance(self, nn.Module)
        write(save_directory / FILE_NAME, self.state_dict(), metadata(self))

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the mixin's reads config.json, which is for readers
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        map_location: str | torch.device = "cpu",
        **options: Any,
    ) -> Self:
        """Build the model that ``save_pretrained`` or ``push_to_hub`` has written.

        Args:
            pretrained_model_name_or_path: a folder, a file of it, or a hub repository
                ``owner/name``.
            revision: branch, tag or commit of the repository.
            map_location: device of the model.
            options: ``cache_dir``, ``force_download``, ``local_files_only`` and ``token`` of
                huggingface_hub; any other is a field of the config to change.
        Returns:
            The model, in evaluation mode.
        Raises:
            UsageError: nothing there, damaged, of another library, or fields that do not fit.
        """
        hub = {
            key: options.pop(key)
            for key in ("cache_dir", "force_download", "local_files_only", "token")
            if key in options
        }
        path = Path(pretrained_model_name_or_path).expanduser()
        if path.is_dir():
            path /= FILE_NAME
        elif not path.is_file():
            found = download(str(pretrained_model_name_or_path), FILE_NAME, revision, **hub)
            path = path / FILE_NAME if found is None else found
        if not path.is_file():
            raise _not_ours(path, "which is not there")
        state, meta = read(path)
        if meta.get("format") != "vitrail":
            raise _not_ours(path, "which is not of this library")
        return cls.from_state(state, meta, **options).to(map_location)  # type: ignore[attr-defined]

    @classmethod
    def from_state(
        cls, state: dict[str, Tensor], meta: dict[str, str], **config_fields: Any
    ) -> Self:
        """Build the model that a file of our own format describes, with its weights.

        Args:
            state: the file's tensors.
            meta: what the file says besides.
            config_fields: fields of the config to change.
        Raises:
            UsageError: a damaged description, or tensors that are not of its model.
        """
        if "task" in meta:
            raise UsageError(
                "a file of a model with the head of a task, for a backbone",
                "a file of a backbone",
                "use vitrail.load(path), which takes both",
            )
        models = {
            sub.__name__: sub for sub in (cls, *_subclasses(cls)) if hasattr(sub, "config_class")
        }
        found = described(meta, models, state)
        check_fields(found.name or found.model.__name__, found.config, config_fields)
        config = replace(found.config, **config_fields)
        about = {"preprocessing": found.preprocessing, "name": found.name}
        check_weights(empty(found.model, config, **about), state)
        model = found.model(config, **about)
        copy_all(model, state)
        return model.eval()

    def more_metadata(self) -> dict[str, str]:
        """What a file says besides what ``metadata`` writes for every model."""
        return {}

    def _set_config(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
        # The mixin writes this one to config.json.
        self._hub_mixin_config = self.config

    def _set_preprocessing(self, **changes: Any) -> None:
        self.preprocessing = replace(self.preprocessing, **changes)


def check_weights(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Refuse tensors that are not exactly the model's, before it is given memory."""
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    wrong = [key for key in {**wanted, **given} if wanted.get(key) != given.get(key)]
    if wrong:
        key = wrong[0]
        raise UsageError(
            f"{len(wrong)} weights that do not fit the model, the first {key}: "
            f"{given.get(key, 'none')} in the file, {wanted.get(key, 'none')} in the model",
            "the weights of the model that the file describes",
            "leave the changed fields out, or use vitrail.create_model(name, weights=path, ...), "
            "which adapts what can be adapted",
        )
    for key, tensor in state.items():
        check_dense(key, tensor)
        if not tensor.is_meta and (count := count_not_finite(tensor)):
            raise UsageError(
                f"{key}, of which {count} of {tensor.numel()} numbers are NaN or infinite",
                "finite numbers",
                "take weights from before the training diverged; vitrail.weights.load(model, path, "
                "strict=False) loads these as they are",
            )


def _not_ours(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path}, {why}",
        f"a folder or repository with {FILE_NAME} as model.save_pretrained writes it",
        "for weights of other libraries, use "
        f"vitrail.create_model(name, weights={str(path.parent)!r})",
    )


def _subclasses(cls: type) -> list[type]:
    return [c for sub in cls.__subclasses__() for c in (sub, *_subclasses(sub))]
