"""A model's own file, and the hub: ``save_pretrained``, ``from_pretrained``, ``push_to_hub``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vitrail.files import whole_or_absent
from vitrail.models.config import as_tuples
from vitrail.models.preprocessing import Preprocessing

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing

FILE_NAME = "model.safetensors"


def metadata(model: Any) -> dict[str, str]:
    """Return what a file must say besides its tensors, for the model to be built again."""
    return {
        "format": "vitrail",
        "model": type(model).__name__,
        "name": model.name or "",
        "config": json.dumps(asdict(model.config)),
        "preprocessing": json.dumps(asdict(model.preprocessing)),
    }


def described(meta: Mapping[str, str], config_class: type[Any]) -> tuple[Any, Preprocessing]:
    """Return the configuration and the preprocessing that ``metadata`` wrote down.

    Args:
        meta: what a file says besides its tensors.
        config_class: class of the configuration; fields that it does not know are left out.
    """
    # JSON has lists where configurations have tuples.
    stored = _as_tuples_of(json.loads(meta["config"]))
    known = {field.name for field in fields(config_class)}
    config = config_class(**{k: v for k, v in stored.items() if k in known})
    return config, Preprocessing(**_as_tuples_of(json.loads(meta["preprocessing"])))


def _as_tuples_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON object with tuples for its lists."""
    return {key: as_tuples(value) for key, value in stored.items()}


def write(path: Path, state: dict[str, Tensor], meta: dict[str, str]) -> None:
    """Write a safetensors file that is either whole or absent."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with whole_or_absent(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=meta)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and what it says besides."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


class HubModel(ModelHubMixin, tags=["vitrail"], library_name="vitrail"):
    """Gives a backbone the methods of huggingface_hub's mixin, on top of its own file format."""

    config: Any
    preprocessing: Preprocessing

    @classmethod
    def _decode_arg(cls, expected_type: Any, value: Any) -> None:
        # The mixin's config.json is for readers: a model is built from its own file, which knows
        # which config class it needs.
        del expected_type, value

    def _save_pretrained(self, save_directory: Path) -> None:
        assert isinstance(self, nn.Module)
        write(save_directory / FILE_NAME, self.state_dict(), metadata(self))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        map_location: str | torch.device = "cpu",
        **config_fields: Any,
    ) -> Self:
        config_fields.pop("config", None)
        if Path(model_id).is_dir():
            path = Path(model_id) / FILE_NAME
        else:
            path = Path(
                hf_hub_download(
                    model_id,
                    FILE_NAME,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        state, meta = read(path)
        return cls.from_state(state, meta, **config_fields).to(map_location)  # type: ignore[attr-defined]

    @classmethod
    def from_state(
        cls, state: dict[str, Tensor], meta: dict[str, str], **config_fields: Any
    ) -> Self:
        """Build the model that a file of our own format describes, with its weights.

        Args:
            state: the file's tensors.
            meta: what the file says besides.
            config_fields: fields of the config to change.
        """
        models = {sub.__name__: sub for sub in _subclasses(cls)} | {cls.__name__: cls}
        model_class = models[meta["model"]]
        config, preprocessing = described(meta, model_class.config_class)  # type: ignore[attr-defined]
        model = model_class(  # type: ignore[call-arg]
            replace(config, **config_fields),
            preprocessing=preprocessing,
            name=meta.get("name") or None,
        )
        half = (torch.float16, torch.bfloat16)
        wide = {k: v.float() if v.dtype in half else v for k, v in state.items()}
        model.load_state_dict(wide)  # type: ignore[attr-defined]
        return model.eval()  # type: ignore[attr-defined]

    def _set_config(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
        # The mixin writes this one to config.json.
        self._hub_mixin_config = self.config

    def _set_preprocessing(self, **changes: Any) -> None:
        self.preprocessing = replace(self.preprocessing, **changes)


def _subclasses(cls: type) -> list[type]:
    return [c for sub in cls.__subclasses__() for c in (sub, *_subclasses(sub))]
