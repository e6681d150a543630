"""Files of models and data sets on the Hugging Face hub, where there is a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class HubError(ValueError):
    """Nothing was fetched: half a sentence that says why."""


def fetch(name: str, files: Sequence[str], kind: str = "model", **options: str) -> Path:
    """The folder with these files, in the hub's own cache.

    Args:
        files: their names, or patterns for them.
        kind: `model` or `dataset`.

    Raises:
        HubError: if the hub has no such thing, or cannot be reached.
    """
    # Takes a second to import, and most readers never need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(
            snapshot_download(name, repo_type=kind, allow_patterns=files, **options)
        )
    except RepositoryNotFoundError:
        problem = f"the Hugging Face hub has no such {kind} that is open to you"
    except Exception as error:  # the hub says no in many ways, as the network does
        reason = str(error).strip().partition("\n")[0][:120]
        told = f"{type(error).__name__}: {reason}"
        problem = f"it cannot be fetched from the Hugging Face hub ({told})"
    raise HubError(problem)
