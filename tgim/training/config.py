"""The section `train` of a recipe: settings of the loop and of the optimisers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator


class OptimizerConfig(BaseModel):
    """Settings of the optimiser of one network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["adam", "adamw"] = "adam"
    lr: float = Field(2e-4, gt=0)  # learning rate at its highest
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(0.0, ge=0)  # largest norm of the network's gradient; 0 for none
    schedule: Literal["constant", "one_cycle", "cosine", "halve"] = "constant"
    warm_up: int = Field(0, ge=0)  # steps of rising rate; for one_cycle 0 means 30 % of all steps
    halve_every: int = Field(0, ge=0)  # steps, schedule "halve"
    halve_every_epochs: float = Field(0.0, ge=0)  # the same in epochs, as papers give it

    @field_validator("betas")
    @classmethod
    def _betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"betas must lie in [0, 1), got {list(value)}")
        return value


class TrainConfig(OptimizerConfig):
    """Settings of the loop: length, batch, device, and what is written. The inherited keys hold for all networks."""

    steps: int | None = Field(None, ge=1)  # of the run; give either this
    epochs: float | None = Field(None, gt=0)  # or this: passes over the data
    batch_size: int = Field(16, ge=1)
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the device computes with it
    device: Literal["auto", "cpu", "cuda"] = "auto"
    optimizers: dict[str, OptimizerConfig] = {}  # network -> keys that differ for it
    ema: float = Field(0.999, ge=0, lt=1)  # decay of the weight average; 0 for none
    log_every: int = Field(10, ge=1)  # steps
    checkpoint_every: int = Field(500, ge=1)  # steps
    sample_every: int = Field(500, ge=0)  # steps; 0 for no sample sheets
    sample_captions: tuple[str, ...] = ()  # of the sample sheet; three of the data set's own unless given
    channels_last: bool = False  # memory layout of pictures
    threads: int = Field(0, ge=0)  # CPU threads; 0 for torch's choice
    deterministic: bool = False  # on a GPU: repeatable kernels, where torch has them (slower)
    half: bool = False  # store the finished weights in 16 bits

    @model_validator(mode="after")
    def _checks(self) -> TrainConfig:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either train.steps or train.epochs")
        for network in (None, *self.optimizers):
            settings = self.optimizer(network)
            if settings.schedule == "halve" and bool(settings.halve_every) == bool(settings.halve_every_epochs):
                raise ValueError("schedule 'halve' needs either halve_every (steps) or halve_every_epochs")
        return self

    @field_serializer("optimizers")
    def _given(self, value: dict[str, OptimizerConfig]) -> dict[str, dict[str, Any]]:
        return {network: settings.model_dump(mode="json", exclude_unset=True) for network, settings in value.items()}

    def optimizer(self, network: str | None) -> OptimizerConfig:
        """The settings of one network: the common ones, replaced by those that `optimizers` has for it."""
        values = {name: getattr(self, name) for name in OptimizerConfig.model_fields}
        own = self.optimizers.get(network or "")
        return OptimizerConfig(**values | (own.model_dump(exclude_unset=True) if own else {}))

    def total_steps(self, steps_per_epoch: float) -> int:
        """Number of steps of the run."""
        return self.steps if self.steps is not None else max(1, round((self.epochs or 0) * steps_per_epoch))
