"""What a module must be to be trained by recipes, and whether it is.

A run is resumed, it may share a lane with others, and it is judged by the same numbers wherever it is. So what a seed
draws is parameters alone, forward is a function of parameters and input, and no example changes what is made of another.
Each check stands for one of these, and its error says what to do. Forward always runs in training mode.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn.parameter import is_lazy

from training.networks.source import Source, blaming, contained

_EXAMPLES = 3
_NEAR = 1e-3  # of the largest output: more than rounding, less than what statistics of a batch do
_SHOWN = 3


def inspect(source: Source, module: nn.Module, vocabulary: int | None) -> None:
    """Raise ValueError for what is wrong with a module that was built under seed 0; what it takes may be tokens."""
    _check_parameters(source, module)
    _check_builds(source, module)
    probe = _probe(source, vocabulary)
    with contained(0):
        with torch.no_grad():
            _check_purity(source, module, probe[:2])  # first, because what changes may change at the first call alone
            _check_independence(source, module, probe)
        _check_gradients(source, module, probe[:2])


def learned(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return what is trained, in its order; a tensor that layers share stands once."""
    return {name: param for name, param in module.named_parameters() if param.requires_grad}


def constants(module: nn.Module) -> dict[str, Tensor]:
    """Return the buffers, and parameters that are not trained."""
    frozen = {name: param.detach() for name, param in module.named_parameters() if not param.requires_grad}
    return {**frozen, **dict(module.named_buffers())}


def _check_parameters(source: Source, module: nn.Module) -> None:
    lazy = [name for name, tensor in {**learned(module), **constants(module)}.items() if is_lazy(tensor)]
    if lazy:
        raise source.fault(f"{_listed(lazy)} have no shape yet; use no lazy layers: the shape of an input is given")
    trained = learned(module)
    if not trained:
        raise source.fault("the module has no parameters to train; give it layers, with requires_grad=True")
    for name, param in trained.items():
        if (param.dtype, param.device.type) != (torch.float32, "cpu"):
            raise source.fault(
                f"parameter {name} is {param.dtype} on {param.device}; build in float32 on the CPU, without dtype or device"
            )


def _check_builds(source: Source, module: nn.Module) -> None:
    """Check what builds have in common: under one seed everything, under another all but the values that are trained."""
    again, other = source.build(0), source.build(1)
    for built in (again, other):
        if _shapes(learned(built)) != _shapes(learned(module)):
            raise source.fault(
                "it builds other parameters each time; let shape, outputs and options decide on the layers"
            )
    changed = list(_changed(learned(module), learned(again)))
    if changed:
        raise source.fault(
            f"under one seed {_listed(changed)} begin differently each time; draw from torch's, NumPy's or Python's global "
            "generator"
        )
    random = list(_changed(constants(module), constants(other)))
    if random:
        raise source.fault(
            f"{_listed(random)} are random and not trained; draw them from a torch.Generator with a seed of their own, or "
            "make them parameters that are trained"
        )


def _shapes(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in tensors.items()]


def _changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Iterator[str]:
    """Return the names of tensors that are not bit for bit what they were."""
    for name in {**before, **after}:
        if name not in before or name not in after or not _same(before[name], after[name]):
            yield name


def _same(one: Tensor, other: Tensor) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _probe(source: Source, vocabulary: int | None) -> Tensor:
    """Return some examples. All numbers are positive, so that a branch on the sign of a sum is taken alike."""
    shape, generator = (_EXAMPLES, *source.shape), Generator().manual_seed(0)
    if vocabulary is None:
        return torch.rand(shape, generator=generator)
    return torch.randint(min(1, vocabulary - 1), vocabulary, shape, generator=generator)


def _outputs(source: Source, module: nn.Module, inputs: Tensor) -> Tensor:
    """Return what the module makes of inputs. Raise ValueError if it is not what the task needs."""
    with blaming(f"{source}: forward, given {tuple(inputs.shape)},"):
        outputs: object = module(inputs)
    wanted = (len(inputs), source.outputs)
    if not isinstance(outputs, Tensor):
        raise source.fault(f"forward returned {type(outputs).__name__}; return a tensor of shape {wanted}")
    if outputs.shape != wanted or not outputs.is_floating_point():
        raise source.fault(
            f"forward made {outputs.dtype} of shape {tuple(outputs.shape)} of inputs {tuple(inputs.shape)}; return floats "
            f"of shape {wanted}: a row for each example, {source.outputs} outputs in it"
        )
    return outputs


def _check_gradients(source: Source, module: nn.Module, inputs: Tensor) -> None:
    """Check that every parameter is in what is differentiated."""
    trained = learned(module)
    total = _outputs(source, module, inputs.clone()).sum()
    if not total.requires_grad:
        raise source.fault("no gradient comes through forward; compute with tensors, without detach() or no_grad()")
    with blaming(f"{source}: backward"):
        grads = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
    unused = [name for name, grad in zip(trained, grads, strict=True) if grad is None]
    if unused:
        raise source.fault(f"forward does not use {_listed(unused)}; leave out layers that have no part in the outputs")


def _check_purity(source: Source, module: nn.Module, inputs: Tensor) -> None:
    """Check that forward is a function: that it changes nothing, and gives the same again."""
    given, state = inputs.clone(), torch.get_rng_state()
    before = {name: tensor.detach().clone() for name, tensor in _tensors(module).items()}
    first = _outputs(source, module, given).clone()
    changed = list(_changed(before, _tensors(module)))
    if changed:
        raise source.fault(
            f"forward changes {_listed(changed)}; use LayerNorm or GroupNorm instead of BatchNorm, and keep nothing from "
            "one call to the next"
        )
    if not _same(given, inputs):
        raise source.fault("forward changes its inputs in place; work on a copy")
    drawn = not torch.equal(state, torch.get_rng_state())
    if drawn or not _same(first, _outputs(source, module, inputs.clone())):
        raise source.fault(
            "two calls of forward with one input differ; leave out dropout and other random parts: runs are resumed and "
            "share lanes, for which forward must be a function of its input"
        )


def _check_independence(source: Source, module: nn.Module, probe: Tensor) -> None:
    """Check that an example is judged by itself: lanes fill batches up, and validation takes them in blocks of any size."""
    expected = _outputs(source, module, probe[:2].clone())
    for count in (3, 1):
        found = _outputs(source, module, probe[:count].clone())[:2]
        apart = (found - expected[:count]).abs().max()
        if apart > _NEAR * expected.abs().max():
            raise source.fault(
                "what forward makes of an example depends on the rest of the batch; use LayerNorm, GroupNorm or "
                "InstanceNorm instead of BatchNorm, and compute nothing over the batch"
            )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
