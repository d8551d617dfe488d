"""The gradient of one network on parts of a batch, on a GPU replayed as one captured graph where shapes are fixed.

A step of a small network is hundreds of kernels that each take less time than their launch; a CUDA graph launches them
as one. What was captured works on buffers of its own, into which each part of a batch is copied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cryobridge.schemas.training import TrainingOptions

from .learner import Learner
from .task import Batch, Network

log = logging.getLogger(__name__)

Losses = Callable[[Batch], Mapping[str, Tensor]]
_WARM_UP_RUNS = 3


def runner(network: nn.Module, options: TrainingOptions, device: torch.device) -> Network:
    """The network in the precision asked for; what is computed around it stays in float32.

    A CPU always computes in float32: oneDNN's bfloat16 convolutions in 3D now and then return NaN from finite input.
    """
    reduced = options.precision == "bfloat16" and device.type != "cpu"

    def run(*inputs: Tensor) -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            results = network(*inputs)
        return _in_float32(results)

    return run


def _in_float32(results: object) -> object:
    if isinstance(results, Tensor):
        return results.float()
    return tuple(map(_in_float32, results)) if isinstance(results, tuple) else results


class Gradients:
    """Adds up the gradient of one network over the parts of a batch.

    Parameters
    ----------
    losses
        Terms of the loss of a part of a batch.
    learner
        Whose gradient it is.
    device
        Where it is.
    graphed
        Whether steps may be captured; only a CUDA device does.
    """

    def __init__(self, losses: Losses, learner: Learner, device: torch.device, *, graphed: bool) -> None:
        self._losses = losses
        self._learner = learner
        self._graphed = graphed and device.type == "cuda"
        self._graphs: dict[tuple[object, ...], _Graph] = {}

    def clear(self) -> None:
        """Begin a new batch."""
        # A captured graph adds to the very tensors that it was captured with.
        self._learner.optimiser.zero_grad(set_to_none=not self._graphs)

    def add(self, part: Batch, share: float) -> Mapping[str, Tensor]:
        """Add the gradient of a part that is this share of the batch; return the terms of its loss, detached."""
        if not self._graphed:
            return self._backward(part, share)
        key = (share, *((name, value.shape, value.dtype) for name, value in sorted(part.items())))
        if key not in self._graphs:
            try:
                self._graphs[key] = _Graph(self._backward, part, share, self._learner)
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                # Slower, and the same numbers: no reason to fail.
                log.warning("steps are not captured as a CUDA graph: %s", error)
                self._graphed = False
                return self._backward(part, share)
        return self._graphs[key].replay(part)

    def _backward(self, part: Batch, share: float) -> dict[str, Tensor]:
        terms = self._losses(part)
        loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        (loss * share).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in terms.items()}


class _Graph:
    """One part's forward and backward pass, captured; see torch's notes on CUDA graphs, whole-network capture."""

    def __init__(
        self, backward: Callable[[Batch, float], dict[str, Tensor]], part: Batch, share: float, learner: Learner
    ) -> None:
        network = learner.network
        self._inputs = {name: value.clone() for name, value in part.items()}
        buffers = [buffer.detach().clone() for buffer in network.buffers()]
        gradients = [None if one.grad is None else one.grad.clone() for one in network.parameters()]
        try:
            beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UP_RUNS):
                    backward(self._inputs, share)
            torch.cuda.current_stream().wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._terms = backward(self._inputs, share)
        finally:
            # These runs were only for the capture: what they added is taken back.
            _restore(network, buffers, gradients)

    def replay(self, part: Batch) -> dict[str, Tensor]:
        for name, value in part.items():
            self._inputs[name].copy_(value)
        self._graph.replay()
        return {name: value.clone() for name, value in self._terms.items()}


@torch.no_grad()
def _restore(network: nn.Module, buffers: list[Tensor], gradients: list[Tensor | None]) -> None:
    for buffer, before in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(before)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        if parameter.grad is not None:
            parameter.grad.zero_() if gradient is None else parameter.grad.copy_(gradient)
