"""Uploading a publication to the Hugging Face Hub, in one commit."""

from __future__ import annotations

from condgen_cli import settings
from condgen_cli.errors import NetworkError, UsageError
from condgen_transformers.publishing import Publication
from condgen_transformers.source import MODEL_NAME, translate_errors

__all__ = ["upload"]


def upload(publication: Publication, repository: str) -> str:
    """Upload all files; returns the address of the commit.

    Raises:
        UsageError: if ``repository`` is not ``ORG/NAME``.
        NetworkError: if the network is off, or the Hub can't be reached.
        NotFoundError: if the token doesn't allow it.
    """
    if not MODEL_NAME.fullmatch(repository):
        raise UsageError(f"{repository!r} is no name of a model of the Hub", "hf:ORG/NAME")
    if settings.current().offline:
        raise NetworkError(f"hf:{repository} can't be written: the network is off")
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    operations = [CommitOperationAdd(name, content) for name, content in publication.files.items()]

    def commit() -> str:
        api = HfApi(library_name="condgen")
        api.create_repo(repository, exist_ok=True)
        found = api.create_commit(repository, operations, commit_message=f"{publication.name}, published by condgen")
        return str(found.commit_url)

    return str(translate_errors(repository, commit))
