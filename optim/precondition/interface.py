"""Preconditioning in a training loop of one's own: one script for every method, and one word to change.

    precondition = Preconditioner(model, "kfac", loss="cross_entropy", damping=1e-3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for inputs, targets in batches:
        def closure():
            outputs = model(inputs)
            return F.cross_entropy(outputs, targets), outputs
        loss = precondition.backward(closure)
        optimizer.step()

The model may give a tensor, tuple, dict or dataclass, and the loss be any further operation on it: what counts is what the
closure returns, the loss and the tensor of outputs that it was made of. Any optimizer may step, since gradients lie
preconditioned where it looks for them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias
from warnings import warn

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .. import catalog
from ..rules.matrices import cast, precise
from ..transform import LAYERS
from .batch import Batch, Pass
from .criteria import criterion
from .extension.tape import Tape, examples, once
from .layers import Layer
from .lengths import in_steps
from .methods import METHODS, known
from .plain import left_plain, notice
from .repeated import drawing_again, generators
from .saved import as_saved, check_saved, check_shapes, layers_in, merged, shapes_of

# A closure gives the loss, or the loss and the outputs (n, ..., k) that it is of.
Closure: TypeAlias = Callable[[], Tensor | tuple[Tensor, Tensor]]
REDUCTIONS = ("mean", "sum")
# Of the rule that steps, which is another's affair here.
STEPPING = frozenset({"lr", "momentum", "weight_decay"})


class Preconditioner:
    """Preconditions the gradients of a model's parameters, or of parameters that are given, by a method of the catalog.

    `loss` names what the closure's loss is ("cross_entropy" of logits, "squared_error"), `reduction` whether it is torch's
    mean or sum: over rows, and of squared errors over outputs, too. Gradients come out as those of the mean; a closure of
    a sum returns outputs, that its terms can be counted. Options are the method's, by their catalog names; missing ones
    have their defaults. `total_steps` is how many steps the training has, for options that are shares of them (`lengths`).
    Parameters of no layer that the method knows keep their gradients; a warning names them once, and so does `plain`. Raise
    ValueError for an unknown method, loss or option, listing the valid ones, and for a value out of range.
    """

    def __init__(
        self,
        model: nn.Module | Iterable[Tensor],
        method: str,
        *,
        loss: str = "cross_entropy",
        reduction: str = "mean",
        total_steps: int | None = None,
        **options: Any,  # noqa: ANN401 - numbers, switches and choices
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; valid: {', '.join(METHODS)}")
        if reduction not in REDUCTIONS:
            raise ValueError(f"unknown reduction {reduction!r}; valid: {', '.join(REDUCTIONS)}")
        elsewhere = sorted(STEPPING & options.keys())
        if elsewhere:
            raise ValueError(
                f"{', '.join(elsewhere)}: of the rule that steps; give it that, and lr to backward(closure, lr=...)"
            )
        self.method = method
        self._info = catalog.optimizer_info(method)
        complete = in_steps(catalog.complete(self._info, options), total_steps)
        self.options = {name: value for name, value in complete.items() if name not in STEPPING}
        numbers = catalog.by_name(self._info.options)
        self._options = {
            name: torch.tensor(numbers[name].number(value), dtype=torch.float64) for name, value in self.options.items()
        }
        self._model = model if isinstance(model, nn.Module) else None
        self._named, self._frozen = _named(model)
        self._criterion, self._reduction = criterion(loss), reduction
        self._link: Any = None
        self._state: Any = None
        self._saved: Mapping[str, Any] | None = None
        self._told = False
        self.layers: tuple[Layer, ...] | None = None

    @property
    def plain(self) -> list[str]:
        """Names of the parameters whose gradients stay as they are, known after the first mini-batch."""
        return [] if self.layers is None else left_plain(self.method, self.layers, list(self._named))

    @property
    def skipped(self) -> int:
        """How often curvature or preconditioner were not finite, so that the ones before stayed in use."""
        return 0 if self._state is None else int(self._state.skipped)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_link": None}  # made of functions, which are not to be written

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._state is not None and self.layers is not None:
            self._link = METHODS[self.method].link(self.layers)

    def backward(self, closure: Closure, *, lr: float | None = None) -> Tensor:
        """Run the closure, put preconditioned gradients into `.grad`, and return the loss.

        The closure must not call backward. `lr` is the learning rate of the step to come, with which kl_clip is kept;
        without it steps are not held back. Raise ValueError for a closure that gives something else than it should, and where
        parameters have been frozen, or are trained, that were not at the beginning.
        """
        self._check_trained()
        params, hyper = list(self._named.values()), self._hyper(lr)
        batch = self._look(closure, params, hyper)
        if self._link is None:
            self._link, self._state = self._begun(batch.layers, self._saved)
            self._saved = None
        grads = _precise(batch.gradients())
        with torch.no_grad():
            found, self._state = self._link.step(grads, self._state, params, hyper, batch)
            for param, grad in zip(params, found, strict=True):
                param.grad = cast(grad, param.dtype)
        loss = batch.forward.loss.detach()
        return loss if self._reduction == "mean" else loss * self._terms(batch.forward)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on: the method's state by name, lists of tensors and tensors."""
        state = self._saved if self._state is None else self._state._asdict()
        return {
            "method": self.method,
            "shapes": shapes_of(self._named),
            "layers": None if self.layers is None else as_saved(self.layers),
            "state": None if state is None else dict(state),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a saved state, which may be one of before the first step, with the layers that it is of.

        Raise ValueError if it is of another method or of another network; nothing has changed then.
        """
        check_saved(saved, self.method)
        check_shapes(self._named, saved.get("shapes"))
        layers = layers_in(saved, len(self._named))
        if saved["state"] is None:
            self._link = self._state = self._saved = None
            self.layers = layers
            return
        own = self.layers if layers is None else layers
        if own is None:  # of before layers were saved: the first mini-batch shows them
            self._saved = saved["state"]
            return
        begun = self._begun(own, saved["state"])  # refused now where it does not fit
        self.layers = own
        if self._link is None:  # placed at the first step, where the parameters are by then
            self._saved = saved["state"]
        else:
            (self._link, self._state), self._saved = begun, None

    def _begun(self, layers: Sequence[Layer], saved: Mapping[str, Any] | None) -> tuple[Any, Any]:
        """Return the method's link for these layers, and its state, as it was saved or at its beginning."""
        link = METHODS[self.method].link(layers)
        state = link.init(_precise(self._named.values()))
        return link, state if saved is None else merged(state, saved)

    def _look(self, closure: Closure, params: list[Tensor], hyper: Mapping[str, Tensor]) -> Batch:
        asked = (LAYERS,) if self._link is None else self._link.asks(self._state, hyper)
        # Of what layers are given the number of examples is known, too, of which a mean has no need.
        taped = LAYERS in asked or self._reduction == "sum"
        drawn: dict[torch.device, Tensor] = {}
        if taped:  # steps that look again begin so; a walk through the model takes too long for the others
            self._check_added()
            drawn = generators(params)
        first = self._run(closure, params, taped=taped)
        weights = _even(_examples(first), first.loss.device)
        if self.layers is None:
            self.layers = known(self.method, [call.layer for call in once(first.calls)])
        if not self._told:
            self._told = True
            self._tell()

        def again(moved: Sequence[Tensor]) -> Pass:
            with drawing_again(drawn):
                return self._run(self._with(closure, moved), moved)

        names = list(self._named)
        return Batch(again, params, self.layers, self._criterion, weights, first=first, asked=asked, names=names)

    def _check_trained(self) -> None:
        """Raise ValueError if the parameters that require gradients are others than at the beginning."""
        frozen = [name for name, param in self._named.items() if not param.requires_grad]
        thawed = [name for name, param in self._frozen.items() if param.requires_grad]
        if frozen or thawed:
            said = "requires no gradient any more" if frozen else "required no gradient at the beginning, and does now"
            raise ValueError(
                f"{(frozen or thawed)[0]} {said}: make a preconditioner anew for what is trained from here on"
            )

    def _check_added(self) -> None:
        """Raise ValueError if the model has parameters that it had not at the beginning."""
        known = {id(param) for param in (*self._named.values(), *self._frozen.values())}
        model = self._model
        added = [] if model is None else [name for name, each in model.named_parameters() if id(each) not in known]
        if added:
            raise ValueError(
                f"{added[0]} was not there at the beginning: make a preconditioner anew for what is trained from here on"
            )

    def _tell(self) -> None:
        """Warn of parameters that are left to the plain gradient."""
        if said := notice(self.method, self.plain):
            warn(said, stacklevel=4)

    def _run(self, closure: Closure, params: Sequence[Tensor], *, taped: bool = True) -> Pass:
        """Run the closure; the pass has the mean loss, whatever the closure gives, and calls of layers where `taped`."""
        with torch.enable_grad(), Tape(params) if taped else nullcontext() as tape:
            found = closure()
        loss, outputs = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            raise ValueError(
                "the closure must return the loss, one number that depends on the parameters, or (loss, outputs), without "
                "calling backward"
            )
        if outputs is not None and not (isinstance(outputs, Tensor) and outputs.ndim):
            what = "single number" if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the closure returned a {what} as outputs: return the tensor (n, ..., k) that the loss is made of"
            )
        given = Pass(loss, outputs, tape.calls if tape else [])
        return given if self._reduction == "mean" else replace(given, loss=loss / self._terms(given))

    def _terms(self, found: Pass) -> int:
        """Return how many terms a loss is the sum of. Raise ValueError where that is not to be told."""
        if found.outputs is None:
            raise ValueError(
                "a sum may be over positions or outputs, too: return (loss, outputs) from the closure, so that its terms "
                "can be counted"
            )
        return self._criterion.terms(found.outputs)

    def _with(self, closure: Closure, moved: Sequence[Tensor]) -> Closure:
        """Return the closure with other tensors in the places of the model's parameters, and its buffers left alone."""
        model = self._model
        if model is None:
            raise ValueError(
                f"{self.method} looks at the loss at other parameters, too: give it the model, not parameters alone"
            )
        tensors = {f"model.{name}": buffer.clone() for name, buffer in model.named_buffers()}
        tensors |= {f"model.{name}": value for name, value in zip(self._named, moved, strict=True)}
        return lambda: functional_call(_Closed(model, closure), tensors, ())

    def _hyper(self, lr: float | None) -> dict[str, Tensor]:
        step = {"lr": _number(0.0), "kl_clip": _number(0.0)} if lr is None else {"lr": _number(float(lr))}
        return self._options | step


class _Closed(nn.Module):
    """A closure as a module that holds the model it calls, so that the model's tensors can be others for one call."""

    def __init__(self, model: nn.Module, closure: Closure) -> None:
        super().__init__()
        self.model, self._closure = model, closure

    def forward(self) -> Tensor | tuple[Tensor, Tensor]:
        return self._closure()


def _named(model: nn.Module | Iterable[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters that require gradients, by name, and the others."""
    given = dict(
        model.named_parameters() if isinstance(model, nn.Module) else ((f"[{i}]", each) for i, each in enumerate(model))
    )
    found = {name: param for name, param in given.items() if param.requires_grad}
    if not found:
        raise ValueError("there are no parameters that require gradients")
    return found, {name: param for name, param in given.items() if not param.requires_grad}


def _precise(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors in which decompositions can be computed: of float32 at least."""
    return [cast(tensor.detach() if tensor.requires_grad else tensor, precise(tensor.dtype)) for tensor in tensors]


@lru_cache
def _number(value: float) -> Tensor:
    """Return a number as options are held; rates are the same for many steps."""
    return torch.tensor(value, dtype=torch.float64)


@lru_cache
def _even(count: int, device: torch.device) -> Tensor:
    """Return the weights of so many examples in their mean."""
    return torch.full((count,), 1 / count, dtype=torch.float64, device=device)


def _examples(found: Pass) -> int:
    """Return how many examples a mini-batch has. Raise ValueError if it has none."""
    called = examples(found.calls)
    count = called if called is not None else 1 if found.outputs is None else len(found.outputs)
    if not count:
        raise ValueError("the mini-batch has no examples: leave it out")
    return count
