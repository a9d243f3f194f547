"""AdamW for small networks on a CPU, of which torch's own spends most of a step on bookkeeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class SmallAdamW(torch.optim.AdamW):
    """Fused AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), whose tensors on a CPU are looked up once.

    Parameters, state and numbers are those of ``torch.optim.AdamW(..., fused=True)``, to the bit. On another device,
    at the first step, and where a parameter has no gradient, that takes the step.
    """

    _known: tuple[list[Tensor], ...] | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        if closure is None and self._known is not None:
            parameters, means, squares, counts = self._known
            gradients = [parameter.grad for parameter in parameters]
            if all(gradient is not None for gradient in gradients):
                (group,) = self.param_groups
                torch._foreach_add_(counts, 1)
                torch._fused_adamw_(
                    parameters, gradients, means, squares, [], counts,
                    amsgrad=False, maximize=False, lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1],
                    weight_decay=group["weight_decay"], eps=group["eps"], grad_scale=None, found_inf=None,
                )  # fmt: skip
                return None
        found = super().step(closure)
        self._look_up()
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch has it."""
        super().load_state_dict(state_dict)
        self._known = None

    def _look_up(self) -> None:
        (group, *others) = self.param_groups
        parameters = group["params"]
        states = [self.state.get(parameter) for parameter in parameters]
        alike = {(parameter.device.type, parameter.dtype) for parameter in parameters} == {("cpu", torch.float32)}
        if others or not alike or not all(states) or group["amsgrad"] or group["maximize"] or not group["fused"]:
            return
        self._known = (
            list(parameters), *([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        )  # fmt: skip
