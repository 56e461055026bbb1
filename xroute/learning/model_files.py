"""How a `ParameterModel` is kept: as a file without pickle, and in the state dicts of PyTorch."""

from __future__ import annotations

import uuid
from typing import Any, Self

import torch

from xroute.exceptions import ParameterError, some
from xroute.learning.attributes import Attribute
from xroute.learning.forms import Form, scheme_named
from xroute.learning.model_file import packed, read_model, unpacked, write_model

__all__ = ["ModelFiles"]

Tensor = torch.Tensor


class ModelFiles(torch.nn.Module):
    """Files and states of a model, whose class says what it is."""

    attributes: tuple[str, ...]
    parameter_names: tuple[str, ...]
    hidden: tuple[int, ...]
    physics: bool | None
    celerity: tuple[float, float]
    log: tuple[str, ...] | None
    standard: tuple[Attribute, ...]
    forms: tuple[Form, ...]
    _state: str

    def save(self, path: Any, *, overwrite: bool = False) -> None:
        """Write the model to a file: a npz of its weights, and of text, that is read without pickle.

        Parameters
        ----------
        path
            File, usually ``*.npz``.
        overwrite
            Replace what is at the path.

        Raises
        ------
        FileExistsError
            If there is something at the path, and ``overwrite`` is False.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/model.npz"
        >>> model.prepare(network).save(path)
        >>> xroute.ParameterModel.load(path).parameter_names
        ('k', 'x')
        """
        write_model(self.config(), self.state_dict(), path, overwrite=overwrite)

    @classmethod
    def load(cls, path: Any) -> Self:
        """Model of a file that `save` has written.

        Parameters
        ----------
        path
            Of the file.

        Returns
        -------
        ParameterModel
            As it was, on the CPU.

        Raises
        ------
        ParameterError
            If it is no such file, of a newer version, damaged, or of a scheme that is not registered.
        FileNotFoundError
            If there is none.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/model.npz"
        >>> model.prepare(network).save(path)
        >>> again = xroute.ParameterModel.load(path)
        >>> bool((again(network)["k"] == model(network)["k"]).all())
        True
        """
        config, weights = read_model(path)
        try:
            model = cls(**config)
            model.load_state_dict(weights)
        except (RuntimeError, TypeError) as error:
            raise ParameterError(f"{path} is damaged: {error}") from error
        return model

    def config(self) -> dict[str, Any]:
        """The arguments that it was made with, but for the seed.

        Returns
        -------
        dict
            ``ParameterModel(**config)`` makes another one of the same form.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> model.config()["attributes"]
        ['length', 'area']
        """
        log = None if self.log is None else list(self.log)
        return {
            "attributes": list(self.attributes), "parameters": list(self.parameter_names), "hidden": list(self.hidden),
            "physics": self.physics, "celerity": list(self.celerity), "log": log,
        }  # fmt: skip

    def get_extra_state(self) -> Tensor:
        """How attributes are standardised and where parameters start, as text: uint8 [letter]."""
        return packed(self.standard, self.forms)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what `get_extra_state` gave.

        Raises
        ------
        ParameterError
            If it is of other attributes or parameters, or of a scheme that is not registered.
        """
        standard, forms = unpacked(state)
        if standard and tuple(a.name for a in standard) != self.attributes:
            raise ParameterError(
                f"the weights are of a model of the attributes {some([a.name for a in standard])}, not {some(self.attributes)}"
            )
        for form in forms:
            scheme_named(form.scheme, form.name)
            if form.name not in self.parameter_names:
                raise ParameterError(
                    f"the weights are of {form.scheme}'s {form.name!r}, which this model does not learn"
                )
        self.standard, self.forms, self._state = standard, forms, uuid.uuid4().hex
