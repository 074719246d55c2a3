"""The whole configuration of one run: every group together, and the rules that span groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from camoe.config.analysis import AnalysisConfig
from camoe.config.averaging import AveragingConfig
from camoe.config.calibrated import CalibratedConfig
from camoe.config.data import ONE_PATH, DataConfig
from camoe.config.diagnostics import SETS
from camoe.config.economy import EconomyConfig, MoneyConfig, V21Config
from camoe.config.evaluation import EvaluationConfig
from camoe.config.experts import WITH_HIDDEN, ExpertsConfig
from camoe.config.job import JobConfig
from camoe.config.kernel import KernelConfig
from camoe.config.model import ModelConfig
from camoe.config.optimizer import OptimizerConfig
from camoe.config.parallel import SHARD, ParallelConfig
from camoe.config.phase import PhaseScheduleConfig
from camoe.config.refusal import ConfigError, check_name
from camoe.config.router import BIDDING_ROUTERS, RouterConfig
from camoe.config.setting import setting
from camoe.config.tokenizer import TokenizerConfig
from camoe.config.tracking import TrackingConfig
from camoe.config.train import TrainConfig

LARGEST_SEED = 2**32 - 1  # what every random generator in use accepts


@dataclass(kw_only=True)
class SeedsConfig:
    """Three independent sources of chance, so that arms can be paired on some of them."""

    init: int = setting(0, help="initial weights", low=0, high=LARGEST_SEED)
    data: int = setting(0, help="order of the training sequences", low=0, high=LARGEST_SEED)
    router_noise: int = setting(
        0, help="noise of the election, and which sequences the market is measured on", low=0, high=LARGEST_SEED
    )


def _group(schema: type[Any], help: str, affects_results: bool = True) -> Any:
    return field(default_factory=schema, metadata={"help": help, "affects_results": affects_results})


@dataclass(kw_only=True)
class RunConfig:
    """One run. Every field is a group of `conf/`, or a value that belongs to none."""

    model: ModelConfig = _group(ModelConfig, "scale of the language model")
    experts: ExpertsConfig = _group(ExpertsConfig, "expert mix of every layer")
    router: RouterConfig = _group(RouterConfig, "how winners are elected and weighed")
    economy: EconomyConfig = _group(EconomyConfig, "the market's arithmetic and constants")
    phase: PhaseScheduleConfig = _group(PhaseScheduleConfig, "schedule of training phases")
    data: DataConfig = _group(DataConfig, "text to train and evaluate on")
    tokenizer: TokenizerConfig = _group(TokenizerConfig, "from text to token ids")
    optimizer: OptimizerConfig = _group(OptimizerConfig, "update rule and learning-rate schedule")
    averaging: AveragingConfig = _group(AveragingConfig, "averages of the weights late in training")
    train: TrainConfig = _group(TrainConfig, "batch shape, base rate, evaluation and checkpoint intervals")
    evaluation: EvaluationConfig = _group(EvaluationConfig, "how all of the held-out text is scored")
    kernel: KernelConfig = _group(KernelConfig, "where and how the arithmetic runs")
    parallel: ParallelConfig = _group(ParallelConfig, "how several processes share a run", affects_results=False)
    job: JobConfig = _group(JobConfig, "what run.py does", affects_results=False)
    tracking: TrackingConfig = _group(TrackingConfig, "where metrics go", affects_results=False)
    analysis: AnalysisConfig = _group(AnalysisConfig, "how the runs of a sweep will be judged", affects_results=False)
    seeds: SeedsConfig = _group(SeedsConfig, "seeds of initial weights, data order and router noise")
    seed: int = setting(0, help="sets all three seeds", low=0, high=LARGEST_SEED, affects_results=False)
    name: str = setting("camoe", help="short name in the run folder and in MLflow", affects_results=False)
    output_dir: str = setting("outputs", help="where run folders are made", affects_results=False)
    resume: str | None = setting(
        None, help="run folder to go on with; its own configuration is used", affects_results=False
    )
    sweep: str | None = setting(None, help="name of the sweep this run belongs to", affects_results=False)
    arm: str | None = setting(None, help="name of this run's arm in the sweep", affects_results=False)
    diagnostics: str = setting(
        "none",
        help="no_amp, no_fast_math, fp32_kernel: take one suspect away; nan: stop at the first non-finite tensor",
        options=tuple(SETS),
        affects_results=False,
    )
    force: bool = setting(False, help="run again what has run already", affects_results=False)
    retry: str = setting(
        "none", help="failed: run what failed before once more", options=("none", "failed"), affects_results=False
    )

    def __post_init__(self) -> None:
        for what, name in (("name", self.name), ("sweep", self.sweep)):
            if name is not None:
                check_name(what, name)
        if self.job.name == "status" and self.sweep is None:
            raise ConfigError("sweep: null with job.name status, which shows how a sweep stands; give sweep=NAME")
        self._check_trained_tokenizer()
        self._check_enough_experts()
        self._check_costs_of_experts()
        self._check_bridge_has_a_state()
        if self.phase.total_steps < 1:
            raise ConfigError("phase.schedule: no phase has steps; give at least one phase.schedule.NAME.steps above 0")
        self._check_phases_have_data()
        self.averaging.check(self.phase.total_steps)
        if self.router.kind == "market_only" and not isinstance(self.economy, MoneyConfig):
            raise ConfigError(
                f"router.kind: market_only bids shares of capital, but economy.kind {self.economy.kind} offers none; "
                "choose router=dual_path or economy=v18, v21, pilot"
            )
        self._check_that_markets_bid()
        self._check_capacity()
        if self.router.kind == "quantile" and self.router.top_k == self.experts.total:
            raise ConfigError(
                f"router.top_k: {self.router.top_k} of {self.experts.total} experts (group experts) leaves router.kind "
                f"quantile nobody to balance; at most {self.experts.total - 1}"
            )
        self._check_bid_space()
        self._check_credit()
        self._check_parallel()

    def _check_trained_tokenizer(self) -> None:
        if self.job.name != "train_tokenizer":
            return
        if self.tokenizer.kind != "bpe":
            raise ConfigError(
                f"tokenizer.kind: {self.tokenizer.kind} is not trained, by job.name train_tokenizer either; use bpe"
            )
        if self.tokenizer.path is not None:
            raise ConfigError("tokenizer.path: nothing to train with job.name train_tokenizer; give null")
        if self.job.output is None:
            raise ConfigError("job.output: null with job.name train_tokenizer, which makes a file; give one")

    def _check_phases_have_data(self) -> None:
        for profile, setting_name in ONE_PATH.items():
            for name, phase in self.phase.with_profile(profile).items():
                if not self.data.has(profile):
                    raise ConfigError(
                        f"phase.schedule.{name}.steps: {phase.steps} steps on data_profile {profile}, but "
                        f"data.{setting_name} is null; give a .jsonl file or a folder with train.jsonl and "
                        "valid.jsonl, or 0 steps"
                    )

    def _check_that_markets_bid(self) -> None:
        if self.economy.kind != "off" and self.router.kind not in BIDDING_ROUTERS:
            raise ConfigError(
                f"router.kind: {self.router.kind} elects without a market, but economy.kind is {self.economy.kind}; "
                "choose economy=off, or keep economy=calibrated, pilot, v18 or v21 and choose router=dual_path"
            )

    def _check_capacity(self) -> None:
        capacity = self.router.capacity
        if self.economy.kind != "off" and capacity.limits:
            raise ConfigError(
                f"router.capacity.mode: {capacity.mode} takes winners away that economy.kind {self.economy.kind} would "
                "settle as if they had served; choose economy=off or router.capacity.mode=observe"
            )

    def _check_enough_experts(self) -> None:
        experts, winners = self.experts.total, self.router.top_k
        if winners > experts:
            raise ConfigError(
                f"router.top_k: {winners} winners among {experts} experts (group experts); at most {experts}"
            )
        if isinstance(self.economy, (V21Config, CalibratedConfig)) and winners == experts:
            raise ConfigError(
                f"router.top_k: {winners} of {experts} experts (group experts) leaves no runner-up to set the Vickrey "
                f"price of economy.kind {self.economy.kind}; at most {experts - 1}, or economy=off"
            )

    def _check_costs_of_experts(self) -> None:
        for kind in WITH_HIDDEN:
            if self.experts.has(kind):
                self.experts.hidden_width(kind, self.model.n_embd)
        self.experts.check_equal_flops(self.model.n_embd)
        by_cost = isinstance(self.economy, CalibratedConfig) and self.economy.congestion.target == "inverse_cost"
        if by_cost and (self.experts.zero or self.experts.copy):
            raise ConfigError(
                "economy.congestion.target: inverse_cost divides by what an expert costs, and experts.zero and "
                "experts.copy cost nothing; choose economy.congestion.target=uniform"
            )

    def _check_bridge_has_a_state(self) -> None:
        if self.experts.transformer_prefix and self.model.attention_layers:
            raise ConfigError(
                f"experts.transformer_prefix: {self.experts.transformer_prefix} in every layer, but the bridge reads a "
                f"state of RWKV-7 that attention layers (model.layers={self.model.layers}) do not have; choose "
                "experts.transformer_prefix=0 or model.layers=all_rwkv"
            )

    def _check_credit(self) -> None:
        gradient = isinstance(self.economy, CalibratedConfig) and self.economy.credit.kind == "gradient"
        if gradient and self.phase.with_profile("preferences"):
            raise ConfigError(
                "economy.credit.kind: gradient reads nats from the gradient of the cross-entropy, which phases with "
                "objective preference do not minimise; choose economy/credit=midpoint"
            )
        if gradient and self.train.recompute == "block":
            raise ConfigError(
                "economy.credit.kind: gradient needs the mixture weights that train.recompute=block throws away; "
                "choose train.recompute=none or time_mix, or economy/credit=midpoint"
            )

    def _check_parallel(self) -> None:
        if self.experts.total % self.parallel.experts:
            raise ConfigError(
                f"parallel.experts: {self.parallel.experts} processes cannot own equally many of {self.experts.total} "
                "experts (group experts); must be a divisor of their number"
            )
        if self.parallel.weights != SHARD:
            return
        if self.optimizer.kind == "adamw8bit":
            raise ConfigError(
                "parallel.weights: shard divides moments by rows, which those of optimizer.kind adamw8bit do not have; "
                "choose optimizer=adamw or muon, or parallel.weights=replicate"
            )
        if self.kernel.compile != "none":
            raise ConfigError(
                f"parallel.weights: shard gathers weights in between, which kernel.compile={self.kernel.compile} "
                "compiles away; choose kernel.compile=none or parallel.weights=replicate"
            )

    def _check_bid_space(self) -> None:
        scored = isinstance(self.economy, CalibratedConfig) and self.economy.bid.space == "score"
        if scored and self.router.gate_activation == "sigmoid":
            raise ConfigError(
                "economy.bid.space: score is the sigmoid of the gate, but router.gate_activation is sigmoid already; "
                "choose router.gate_activation=identity or economy/bid=logits"
            )
