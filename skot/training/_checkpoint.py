"""Checkpoints: a training run on disk, to resume it after a crash."""

import os
import tempfile
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import torch

from skot.base import Component
from skot.training._state import TrainingState
from skot.training._stopping import StoppingRule
from skot.utils._sklearn import Interval
from skot.utils._warnings import warn_user

_FORMAT = "skot training checkpoint 1"


class Checkpoint(Component):
    """Write the training run to a file now and then, and resume from that file.

    A fit that finds the checkpoint of an interrupted fit with the same parameters and data goes on
    from it, and ends with the result, to the last bit, that it would have had without the
    interruption; after a finished fit it is done at once. The checkpoint of another fit is not
    used, with a `UserWarning`, and is replaced. One path belongs to one fit at a time: in a
    parallel search give every candidate its own.

    Parameters
    ----------
    path : str or path-like
        The file. Its folder must exist.
    every : int, default=1000
        Number of steps between two writes. The last state is written too.

    Notes
    -----
    The file is replaced in one go, so a crash while writing leaves the one before. It holds
    tensors and numbers only and is read without unpickling arbitrary objects.

    Examples
    --------
    >>> from skot.training import Checkpoint
    >>> Checkpoint("fit.pt", every=500)
    Checkpoint(every=500, path='fit.pt')
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "path": [str, os.PathLike],
        "every": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, path: str | os.PathLike, every: int = 1000):
        self.path = path
        self.every = every

    def load(self, state: TrainingState, rule: StoppingRule | None, fingerprint: str) -> str | None:
        """Bring a run to where the file was written, if it belongs to the same run.

        Parameters
        ----------
        state : TrainingState
            As it is before the first step of the run; changed in place.
        rule : StoppingRule or None
            Changed in place.
        fingerprint : str
            What identifies the fit, such as the result of :func:`fingerprint`.

        Returns
        -------
        status : str or None
            Why the run had stopped when the file was written, ``"running"`` if it had not, None if
            nothing was loaded.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        ValueError
            If the file is something else, which is not to be overwritten.
        """
        path = Path(self.path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {str(path.parent)!r} for the checkpoint.")
        if not path.exists():
            return None
        saved = _read(path)
        same_fit = saved["fingerprint"] == fingerprint
        if not same_fit or saved["state"]["run_start"][0] != state.iteration:
            warn_user(
                f"The checkpoint {str(path)!r} belongs to a fit with other parameters or other "
                "data: training starts anew, and will replace it."
            )
            return None
        state.load_state_dict(saved["state"])
        if rule is not None and saved["rule"] is not None:
            rule.load_state_dict(saved["rule"])
        return saved["status"]

    def save(
        self, state: TrainingState, rule: StoppingRule | None, fingerprint: str, status: str
    ) -> None:
        """Write the file.

        Parameters
        ----------
        state : TrainingState
            Between two steps.
        rule : StoppingRule or None
            The rule that follows the run.
        fingerprint : str
            What identifies the fit.
        status : str
            Why the run has stopped, or ``"running"``.
        """
        content = {
            "format": _FORMAT,
            "fingerprint": fingerprint,
            "status": status,
            "state": state.state_dict(),
            "rule": None if rule is None else rule.state_dict(),
        }
        path = Path(self.path)
        # In the same folder, because a rename is atomic within one file system only.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(_not_ours(path)) from error
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise ValueError(_not_ours(path))
    return saved


def _not_ours(path: Path) -> str:
    return (
        f"The file {str(path)!r} cannot be read as a checkpoint of this version. Delete it, or "
        "choose another path."
    )
