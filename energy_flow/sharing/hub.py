"""The two ways to and from the Hugging Face hub, with errors in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_INSTALL = "pip install 'energy-flow[hub]'"


def fetch(repo_id: str, files: Sequence[str], **options: Any) -> Path:
    """Download files of a repository, all of the same commit, and give the folder of the cache where they are.

    Args:
        repo_id: such as `user/maze`.
        files: their names.
        options: of `huggingface_hub.snapshot_download`.

    Raises:
        ValueError: there is no such repository or revision, or it cannot be reached.
    """
    hub = _hub(repo_id)
    try:
        return Path(hub.snapshot_download(repo_id, allow_patterns=list(files), **options))
    except (hub.errors.HFValidationError, hub.errors.RepositoryNotFoundError) as error:
        raise ValueError(
            f"{repo_id}: neither a folder nor a model on the hub; give a folder such as RUN/best, or user/name, and a "
            "token where the model is private"
        ) from error
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise ValueError(f"{repo_id}: no such folder, and not loaded from the hub: {_first_line(error)}") from error


def publish(
    folder: Path,
    repo_id: str,
    *,
    commit_message: str = "Push model using energy-flow.",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Upload a folder in one commit, and give the address of the commit.

    Args:
        folder: all its files are uploaded.
        repo_id: such as `user/maze`; it is made where it is missing.
        commit_message: of the commit.
        private: whether a new repository is.
        token: by default the one of `hf auth login`.
        branch: by default main.
        create_pr: propose the commit instead.

    Raises:
        ValueError: the hub refused it; it says why.
    """
    hub = _hub(repo_id)
    api = hub.HfApi(token=token)
    try:
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        return str(
            api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
                allow_patterns=["*.safetensors", "*.json", "*.md"],
            )
        )
    except (hub.errors.HFValidationError, hub.errors.HfHubHTTPError, ConnectionError) as error:
        raise ValueError(f"{repo_id}: not pushed to the hub: {_first_line(error)}") from error


def _hub(repo_id: str) -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(f"{repo_id}: no such folder, and the hub needs huggingface_hub: {_INSTALL}") from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
