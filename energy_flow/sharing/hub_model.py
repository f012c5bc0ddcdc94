"""A model with the three methods that people of the Hugging Face hub expect."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from ..config import EnergyConfig
from .hub import fetch, publish
from .model_card import ModelCard
from .model_files import CARD, CONFIG, WEIGHTS, read_weights, require_model, write_model


class HubModel(nn.Module, ABC):
    """A module that is made of a configuration, and saved with it as `model.safetensors` and `config.json`.

    The methods have the names and arguments of `huggingface_hub.ModelHubMixin`. Its own saving is not used, since that
    removes the configuration before it writes the weights.
    """

    config: EnergyConfig

    @classmethod
    @abstractmethod
    def from_config(cls, config: EnergyConfig) -> Self:
        """The model of a configuration, untrained."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        card: ModelCard | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **hub: Any,
    ) -> None:
        """Write weights, configuration and card to a folder; nothing there changes before all is on the disk.

        Args:
            save_directory: the folder; it is made where it is missing.
            card: what the README says of the model; by default what the configuration says, and a README that is there
                stays as it is.
            repo_id: where it is pushed; by default the folder's name.
            push_to_hub: push it as well.
            hub: further arguments of `push_to_hub`.
        """
        folder = Path(save_directory).expanduser()
        kept = card is None and (folder / CARD).is_file()
        text = None if kept else (card or ModelCard()).text(self.config, repo_id)
        write_model(folder, self.state_dict(), self.config, text)
        if push_to_hub:
            publish(folder, repo_id or folder.resolve().name, **hub)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """The model in a folder or on the hub, in `eval()`. Nothing that is read can execute code.

        Args:
            pretrained_model_name_or_path: a folder, or the name of a repository such as `user/maze` (extra hub).
            force_download: load it again though it is in the cache.
            token: for the hub; by default the one of `hf auth login`.
            cache_dir: where downloads are kept.
            local_files_only: take what is in the cache, and ask no network.
            revision: a branch, a tag or a commit.
            device: where the weights go.

        Raises:
            ValueError: there is no such model, or its files are not what they claim.
            ImportError: it is on the hub, and the extra hub is not installed.
        """
        folder = Path(pretrained_model_name_or_path).expanduser()
        if not folder.is_dir():
            folder = fetch(
                str(pretrained_model_name_or_path),
                [WEIGHTS, CONFIG],
                force_download=force_download,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                revision=revision,
            )
        require_model(folder)
        model = cls.from_config(EnergyConfig.load(folder / CONFIG))
        model.load_state_dict(read_weights(folder / WEIGHTS, model.state_dict()))
        return model.to(device).eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: ModelCard | None = None,
        commit_message: str = "Push model using energy-flow.",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload the model in one commit; the repository is made where it is missing (extra hub).

        Args:
            repo_id: such as `user/maze`.
            card: as for `save_pretrained`.
            commit_message: of the commit.
            private: whether a new repository is.
            token: by default the one of `hf auth login`.
            branch: by default main.
            create_pr: propose the commit instead.

        Returns:
            the address of the commit.

        Raises:
            ValueError: the hub refused it; it says why.
            ImportError: the extra hub is not installed.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, card=card, repo_id=repo_id)
            return publish(
                Path(folder),
                repo_id,
                commit_message=commit_message,
                private=private,
                token=token,
                branch=branch,
                create_pr=create_pr,
            )
