"""Data-parallel training: several processes, started by torchrun or srun, that hold the same model.

Each runs its share of every step; gradients and every sum that a state follows from are added up over all of them, so
that weights, optimiser, market and statistics stay equal to the last bit. Only the first one writes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.rooms import room
from camoe.training.last_words import LastWords, PeerLost
from camoe.training.launch import Launch
from camoe.training.watch import Watch

PATIENCE = timedelta(minutes=30)
"""How long ranks wait for one that lives but is late: the first one writes checkpoints while the others wait."""

GLOO = "gloo"
UNSENDABLE = (torch.bool, torch.int16)
"""Types that no backend adds up."""


class ConnectedRanks(Ranks):
    """Ranks that are connected by torch.distributed's default process group."""

    def __init__(self, launch: Launch, store: dist.Store, backend: str) -> None:
        self.index, self.count = launch.rank, launch.count
        self.backend, self.link = backend, f"started by {launch.by}, connected by {backend}"
        self.connects_gpus = backend != GLOO
        self.words = LastWords(store, launch.rank)
        self._groups, self._group = launch.count, launch.rank
        self._told = 0

    def divide(self, groups: int, group: int) -> None:
        self._groups, self._group = groups, group

    def sum(self, values: Sequence[Tensor]) -> list[Tensor]:
        summed: dict[int, Tensor] = {}
        by_kind = sorted(range(len(values)), key=lambda i: (str(values[i].device), str(values[i].dtype)))
        for _, same in groupby(by_kind, key=lambda i: (values[i].device, values[i].dtype)):
            places = list(same)
            flat = torch.cat([values[i].detach().flatten() for i in places])
            flat = self._total(flat.int()).to(flat.dtype) if flat.dtype in UNSENDABLE else self._total(flat)
            parts = flat.split([values[i].numel() for i in places])
            summed |= {i: part.view(values[i].shape) for i, part in zip(places, parts, strict=True)}
        return [summed[i] for i in range(len(values))]

    def join(self, values: Tensor, dim: int) -> Tensor:
        slots = values.new_zeros(self.count, *values.shape)
        slots[self.index] = values
        return torch.cat(list(self._total(slots)), dim=dim)

    def micro_batches(self, sums: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        like = sums[0]
        flat = torch.stack([torch.cat([value.double().flatten() for value in entry.values()]) for entry in sums])
        rows = self._by_group(flat).flatten(0, 1)
        lengths = [value.numel() for value in like.values()]
        return [
            {
                name: part.view(v.shape).to(v.dtype)
                for (name, v), part in zip(like.items(), row.split(lengths), strict=True)
            }
            for row in rows
        ]

    def whole_micro_batch(self, sums: Tensor) -> Tensor:
        return sums if self._groups == self.count else self._by_group(sums)[self._group]

    def largest(self, value: int) -> int:
        found = torch.tensor(value)
        with self._together():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def tell(self, text: str | None) -> str:
        self._told += 1
        key = f"told/{self._told}"
        if self.is_first:
            assert text is not None
            self.words.store.set(key, text)
            return text
        return self.words.wait_for(key)

    @contextmanager
    def watched(self, report: Callable[[BaseException], object]) -> Iterator[None]:
        with Watch(self.words, report), self._explained():
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """A connection that breaks where torch communicates by itself is explained too."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, PeerLost) or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise self.words.explain(error) from error

    def _by_group(self, own: Tensor) -> Tensor:
        """[groups,...] sums over the ranks that share each of the micro-batches run at this time."""
        slots = own.new_zeros(self._groups, *own.shape)
        slots[self._group] = own
        return self._total(slots)

    def _total(self, values: Tensor) -> Tensor:
        with self._together():
            dist.all_reduce(values)
        return values

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Communication inside; PeerLost says what became of a rank that takes no part in it."""
        with room("ranks"):
            try:
                yield
            except RuntimeError as error:
                raise self.words.explain(error) from error


@contextmanager
def connected(device: str) -> Iterator[Ranks]:
    """The ranks of this run, `ALONE` where one process was started; `device` is the setting kernel.device.

    What ends the block early is told to the other ranks, which then end too.
    """
    launch = Launch.of(os.environ)
    if launch is None:
        yield ALONE
        return
    address = f"tcp://{launch.host}:{launch.port}?rank={launch.rank}&world_size={launch.count}"
    store, _, _ = next(rendezvous(address, timeout=PATIENCE))
    backend = _backend(launch, store, device)
    dist.init_process_group(
        backend, store=dist.PrefixStore("group", store), rank=launch.rank, world_size=launch.count, timeout=PATIENCE
    )
    ranks = ConnectedRanks(launch, store, backend)
    with _told_to_others(ranks):
        yield ranks


@contextmanager
def _told_to_others(ranks: ConnectedRanks) -> Iterator[None]:
    """Whatever ends the block ends the other ranks too: their communication breaks, and they learn why."""
    whole = False
    try:
        yield
        whole = True
    except BaseException as error:
        ranks.words.leave(error)
        if isinstance(error, PeerLost) and not ranks.is_first:
            raise SystemExit(f"rank {ranks.index} ends: {error}") from error
        raise
    finally:
        if whole or ranks.backend == GLOO:  # nccl would wait for the others
            dist.destroy_process_group()
        ranks.words.part(ranks.count)


def _backend(launch: Launch, store: dist.Store, device: str) -> str:
    """gloo for tensors on the CPU; for those on GPUs nccl, which wants a GPU of its own for every rank, else gloo."""
    if device == "cpu" or not torch.cuda.is_available():
        return GLOO
    torch.cuda.set_device(launch.local_rank % torch.cuda.device_count())
    own = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
    store.set(f"gpu/{launch.rank}", f"{socket.gethostname()}/{own}")
    all_gpus = {store.get(f"gpu/{rank}") for rank in range(launch.count)}
    return "cpu:gloo,cuda:nccl" if len(all_gpus) == launch.count and dist.is_nccl_available() else GLOO
