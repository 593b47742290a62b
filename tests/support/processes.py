"""Several processes joined by gloo on the CPU, each running the same function; none of them may hang."""

import multiprocessing
import os
import pickle
import random
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

# A server that has torch loaded already forks each process in milliseconds, and has no threads that a fork would lose.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "torch.distributed.fsdp", "torch.distributed.tensor", "hidlr", "numpy"])


def run_ranks(function: Callable[..., Any], ranks: int, *args: Any, timeout: float = 90.0) -> list[Any]:
    """What ``function(rank, ranks, *args)`` returns on each rank.

    Raises:
        AssertionError: it raised on a rank (the message has every traceback), or a rank hung.
    """
    with tempfile.TemporaryDirectory() as folder:
        pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(ranks)]
        processes = [
            _CONTEXT.Process(target=_run, args=(function, rank, ranks, str(Path(folder) / "store"), sender, args))
            for rank, (_, sender) in enumerate(pipes)
        ]
        for process, (_, sender) in zip(processes, pipes, strict=True):
            process.start()
            sender.close()  # the child has its own; with this one closed, its death is seen
        try:
            deadline = time.monotonic() + timeout
            answers = [_answer(receiver, deadline) for receiver, _ in pipes]
        finally:
            for process in processes:
                process.kill()
                process.join()
    failures = [f"rank {rank}: {text}" for rank, (well, text) in enumerate(answers) if not well]
    assert not failures, "\n".join(failures)
    return [value for _, value in answers]


def _answer(receiver: Connection, deadline: float) -> tuple[bool, Any]:
    if not receiver.poll(max(0.0, deadline - time.monotonic())):
        return False, "hung"
    try:
        return pickle.loads(receiver.recv_bytes())  # bytes: tensors would travel as handles of a process that has ended
    except EOFError:
        return False, "died"


def _run(function: Callable[..., Any], rank: int, ranks: int, store: str, sender: Connection, args: Any) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # Accelerate would set it, and warn
    random.seed(rank)
    np.random.seed(rank)
    torch.manual_seed(rank)  # ranks draw differently, as in life
    warnings.simplefilter("error")
    try:
        dist.init_process_group(
            "gloo", store=dist.FileStore(store, ranks), rank=rank, world_size=ranks, timeout=timedelta(seconds=40)
        )
        answer = True, function(rank, ranks, *args)
        dist.barrier()
    except BaseException:  # noqa: BLE001  (whatever it is, the parent reports it)
        answer = False, traceback.format_exc()
    sender.send_bytes(pickle.dumps(answer))
    sender.close()
    if answer[0]:
        dist.destroy_process_group()
