"""Write a run's newest weights under the official names of RWKV-7, where its mix of experts is one RWKV."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.jobs.output_file import SAFETENSORS_HEADER, refuse_overwriting
from camoe.jobs.trained_run import TrainedRun, open_trained_run
from camoe.model.rwkv_export import largest_difference, official_rwkv_weights
from camoe.tracking.atomic_file import write_bytes
from camoe.tracking.shown_path import shown_path

PROBE_TOKENS = 512  # of the held-out text, on which both forms are compared


def run(config: RunConfig, command: CommandRecord) -> None:
    """Write job.output, else rwkv.safetensors in the run folder, in float32, and say how exact it is.

    A model that RWKV-7 cannot express is a ConfigError, and nothing is written.
    """
    trained = open_trained_run(config, command)
    file = _place(config.job.output, trained)
    weights = official_rwkv_weights(trained.model)
    probe = _probe(trained)
    difference = largest_difference(trained.model, weights, probe)
    write_bytes(file, save({name: tensor.cpu().contiguous() for name, tensor in weights.items()}))
    print(
        f"{len(weights)} tensors, {sum(tensor.numel() for tensor in weights.values()):,} parameters, "
        f"{file.stat().st_size:,} bytes in {shown_path(file)}\n"
        f"logits of {probe.numel()} held-out tokens differ from the run's by {difference:.2g} at most"
    )


def _place(output: str | None, trained: TrainedRun) -> Path:
    file = Path(output) if output else trained.result("rwkv.safetensors")
    if file.suffix != ".safetensors" or not file.parent.is_dir() or file.is_dir():
        raise ConfigError(f"job.output: {file} is no .safetensors file in a folder that exists")
    refuse_overwriting("job.output", file, b"{", SAFETENSORS_HEADER)
    return file


def _probe(trained: TrainedRun) -> torch.Tensor:
    """The first held-out tokens, [1,T]."""
    tokens = trained.corpus.valid.tokens[:PROBE_TOKENS].astype("int64")
    return torch.from_numpy(tokens)[None].to(trained.placement.device)
