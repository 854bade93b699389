#!/usr/bin/env python3
"""Times the attention kernels most engines serve with (cuDNN's and FlashAttention-2 through PyTorch) into a calibration.

    python3 library_attention.py FOLDER [--quick] [--seconds S]

writes attention_prefill_bf16_library.csv and attention_decode_bf16_library.csv into FOLDER and lists them in its
machine.json, beside the project's own kernels: the latency model takes the fastest. Needs a CUDA GPU and PyTorch 2.6 or
later. Tables that are there already are kept; an interrupted run goes on where it stopped.

Each time is the median over replays of a captured CUDA graph of many launches, one launch's share. Prefill finds its
tensors as the projection before leaves them, decode finds a cold cache (caches rotate through four times the L2).
"""

import argparse
import csv
import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}

PREFILL_AXES = {
    "head_dim": [64, 128],
    "batch_heads": [8, 16, 32, 64, 128, 512],
    "query_length": [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
}
DECODE_AXES = {
    "head_dim": [64, 128],
    "group": [1, 4, 8],
    "batch_kv_heads": [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024],
    "context": [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
}
QUICK_PREFILL_AXES = {"head_dim": [64, 128], "batch_heads": [8, 64], "query_length": [512, 4096]}
QUICK_DECODE_AXES = {"head_dim": [64, 128], "group": [1, 4], "batch_kv_heads": [4, 64], "context": [512, 4096]}


def attend(q, k, v, causal, backend):
    """q [batch, n_heads, length, head_dim], k and v [batch, n_kv_heads, context, head_dim]; any strides."""
    with sdpa_kernel(BACKENDS[backend]):
        return scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


def elapsed(run):
    """Seconds of one call by events, the host's share included."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


def time_in_graph(launch, graph_seconds=2e-3, repetitions=9, budget_seconds=60e-3):
    """(median seconds of one launch, spread) inside a captured graph; launch(i) enqueues the i-th."""
    seconds = elapsed(lambda: launch(0))
    if seconds < 50e-3:
        seconds = elapsed(lambda: launch(1))
    # The host's share of a short launch is larger than the launch itself: what fills the graph is then not known.
    launches = 50 if seconds < 200e-6 else max(1, round(graph_seconds / seconds))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(launches):
            launch(i)
    if seconds < 5e-3:
        graph.replay()
    fewest = 1 if seconds > 0.1 else 3
    count = max(fewest, min(repetitions, int(budget_seconds / (seconds * launches))))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    events[0].record()
    for event in events[1:]:
        graph.replay()
        event.record()
    torch.cuda.synchronize()
    laps = sorted(a.elapsed_time(b) * 1e-3 / launches for a, b in itertools.pairwise(events))
    graph.reset()
    median = statistics.median(laps)
    return median, (laps[round(0.9 * (count - 1))] - laps[round(0.1 * (count - 1))]) / median


def fastest(launch_with):
    """(seconds, spread, backend) of the fastest backend that serves the shape; launch_with(backend) gives a launch."""
    measured = []
    for backend in BACKENDS:
        try:
            measured.append((*time_in_graph(launch_with(backend)), backend))
        except RuntimeError as refusal:
            # A backend may not serve a shape; a device that is broken or full is another matter.
            if "No available kernel" not in str(refusal) and "cuDNN" not in str(refusal):
                raise
    return min(measured)


class Pool:
    """Random bf16 numbers on the device, cut into tensors without copying."""

    def __init__(self, elements):
        self.flat = torch.empty(elements, dtype=torch.bfloat16, device="cuda").normal_()

    def cut(self, shape, offset=0):
        count = 1
        for extent in shape:
            count *= extent
        return self.flat[offset : offset + count].view(shape)


def measure_prefill(pool, point):
    n_heads = min(32, point["batch_heads"])
    n_kv_heads = max(1, n_heads // 4)
    batch = point["batch_heads"] // n_heads
    q_shape = (batch, point["query_length"], n_heads, point["head_dim"])
    kv_shape = (batch, point["query_length"], n_kv_heads, point["head_dim"])
    queries = batch * point["query_length"] * n_heads * point["head_dim"]
    keys = queries // n_heads * n_kv_heads
    q = pool.cut(q_shape).transpose(1, 2)
    k = pool.cut(kv_shape, queries).transpose(1, 2)
    v = pool.cut(kv_shape, queries + keys).transpose(1, 2)
    return fastest(lambda backend: lambda index: attend(q, k, v, True, backend))


def measure_decode(pool, point):
    n_kv_heads = min(8, point["batch_kv_heads"])
    batch = point["batch_kv_heads"] // n_kv_heads
    n_heads = n_kv_heads * point["group"]
    shape = (batch, point["context"], n_kv_heads, point["head_dim"])
    keys = point["batch_kv_heads"] * point["context"] * point["head_dim"]
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    sets = max(1, min(100, 4 * l2 // (4 * keys) + 1, pool.flat.numel() // (2 * keys)))
    q = torch.randn(batch, n_heads, 1, point["head_dim"], dtype=torch.bfloat16, device="cuda")
    caches = [
        (pool.cut(shape, 2 * i * keys).transpose(1, 2), pool.cut(shape, (2 * i + 1) * keys).transpose(1, 2))
        for i in range(sets)
    ]
    return fastest(lambda backend: lambda index: attend(q, *caches[index % sets], False, backend))


def pool_elements(operation, axes):
    largest = {name: values[-1] for name, values in axes.items()}
    if operation == "attention_prefill":
        return largest["head_dim"] * largest["batch_heads"] * largest["query_length"] * 3 // 2
    return max(2 * largest["head_dim"] * largest["batch_kv_heads"] * largest["context"], 2**28)


def write_table(folder, operation, axes, measure, deadline):
    """Measures what the folder lacks; False if the deadline came first."""
    final = folder / f"{operation}_bf16_library.csv"
    if final.exists():
        return True
    partial = final.with_suffix(".csv.partial")
    names = list(axes)
    known = set()
    if partial.exists():
        with partial.open() as rows:
            known = {tuple(int(row[name]) for name in names) for row in csv.DictReader(rows) if row.get("backend")}
    else:
        partial.write_text(",".join([*names, "seconds", "spread", "clock_mhz", "backend"]) + "\n")
    torch.cuda.empty_cache()
    pool = Pool(pool_elements(operation, axes))
    for values in itertools.product(*axes.values()):
        if values in known:
            continue
        if time.monotonic() > deadline:
            return False
        seconds, spread, backend = measure(pool, dict(zip(names, values)))
        row = [*map(str, values), f"{seconds:.5g}", f"{spread:.3g}", str(torch.cuda.clock_rate()), backend]
        with partial.open("a") as out:
            out.write(",".join(row) + "\n")
    partial.rename(final)
    return True


def list_in_machine(folder, operations):
    """Names the tables in machine.json, where there is one."""
    file = folder / "machine.json"
    if not file.exists():
        return
    machine = json.loads(file.read_text())
    versions = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    for operation in operations:
        name = f"{operation}_bf16_library.csv"
        tables = [table for table in machine.get("tables", []) if table["file"] != name]
        kernel = f"scaled_dot_product_attention, the faster of cuDNN and FlashAttention-2 ({versions})"
        entry = {"file": name, "kernel": kernel, "library": True, "operation": operation, "precision": "bf16"}
        if operation == "attention_prefill":
            entry |= {"sparse": False, "windowed": False}
        else:
            entry["kv_precision"] = "bf16"
        machine["tables"] = [*tables, entry]
    temporary = file.with_suffix(".json.partial")
    temporary.write_text(json.dumps(machine, indent=2) + "\n")
    os.replace(temporary, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a handful of shapes")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so long; a later run goes on")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("library_attention.py: no GPU: run on a machine with an NVIDIA GPU and PyTorch for CUDA")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + arguments.seconds
    done = []
    for operation, axes, measure in (
        ("attention_decode", QUICK_DECODE_AXES if arguments.quick else DECODE_AXES, measure_decode),
        ("attention_prefill", QUICK_PREFILL_AXES if arguments.quick else PREFILL_AXES, measure_prefill),
    ):
        if not write_table(arguments.folder, operation, axes, measure, deadline):
            break
        done.append(operation)
        print(f"{operation}: done", flush=True)
    list_in_machine(arguments.folder, done)


if __name__ == "__main__":
    main()
