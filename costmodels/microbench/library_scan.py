#!/usr/bin/env python3
"""Times linear recurrences as most engines run them (Triton, one launch a stage) into a calibration.

    python3 library_scan.py FOLDER [--quick] [--seconds S]

writes scan_prefill_KIND_library.csv and scan_decode_library.csv into FOLDER and lists them in its machine.json, beside
the project's own kernels. The kernels are in triton_scan.py; the delta kinds' times include the unit norms of q and k.
Where the most used library's own time is known at one shape, the table is scaled to it (LIBRARY_FACTORS).
Needs a CUDA GPU and PyTorch with Triton. Tables that are there already are kept; an interrupted run goes on.

Each time is the median over replays of a captured CUDA graph of many launches, one launch's share; prefill finds its
tensors as they fall, decode finds cold states (they rotate through four times the L2).
"""

import argparse
import csv
import itertools
import json
import os
import sys
import time
from pathlib import Path

import torch
import triton

sys.path.insert(0, str(Path(__file__).resolve().parent))
import triton_scan as kernels
from library_attention import time_in_graph

KEY = 128
# Times of the most used Triton library on an H200 at 8 x 2048 tokens, 16 heads of 128, over those of the kernels here:
# 0.374, 0.81, 0.666 and 1.06 ms over 0.204, 0.626, 0.651 and 1.26 (without unit norms; one H200, 2026-11-25). Its
# stages are the same but for their tiles. The tables are of these kernels times the factor; no gate at all is served by
# the scalar gate's kernels. The gated delta rule's 2% is within what two machines differ by.
LIBRARY_FACTORS = {"linear": 1.83, "scalar_gate": 1.83, "delta": 1.29, "gated_delta": 1.0, "vector_gate": 0.84}
GATES = {"linear": 0, "delta": 0, "scalar_gate": 1, "gated_delta": 1, "vector_gate": 2}
PREFILL_AXES = {
    "batch_heads": [8, 16, 32, 64, 128, 512],
    "length": [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
}
DECODE_AXES = {"batch_heads": [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]}
QUICK_PREFILL_AXES = {"batch_heads": [16, 128], "length": [512, 2048]}
QUICK_DECODE_AXES = {"batch_heads": [16, 1024]}


def has_delta(kind):
    return kind.endswith("delta")


def stage_delta(k, v, sums, beta):
    """w and u of the delta rule, [batch, length, n_heads, 128 and value_dim]."""
    batch, length, n_heads, value = v.shape
    grid = (triton.cdiv(length, 64), batch * n_heads)
    products = torch.empty(batch, length, n_heads, 64, dtype=torch.float32, device="cuda")
    inverse = torch.empty_like(products, dtype=torch.bfloat16)
    w, u = torch.empty_like(k), torch.empty_like(v)
    gated = sums is not None
    some = sums if gated else beta  # never read without a gate
    kernels.key_products_kernel[grid](k, some, beta, products, length, n_heads, gated, num_warps=4, num_stages=3)
    kernels.inverse_kernel[grid](products, inverse, length, n_heads, num_warps=4, num_stages=3)
    kernels.solved_rows_kernel[grid](
        k, v, some, beta, inverse, w, u, length, n_heads, value, gated, num_warps=4, num_stages=3
    )
    return w, u


def chunk_sums(log_decay):
    batch, length, n_heads = log_decay.shape[:3]
    width = 1 if log_decay.dim() == 3 else KEY
    sums = torch.empty_like(log_decay)
    block = min(32, width)
    grid = (triton.cdiv(length, 64), batch * n_heads, width // block)
    kernels.gate_sums_kernel[grid](log_decay, sums, length, n_heads, width, block, num_warps=4 if width > 1 else 1)
    return sums


def unit_norm(x):
    out = torch.empty_like(x)
    rows = x.numel() // KEY
    kernels.unit_norm_kernel[(triton.cdiv(rows, 16),)](x, out, rows, num_warps=4)
    return out


def within(q, k, sums):
    batch, length, n_heads, _ = q.shape
    scores = torch.empty(batch, length, n_heads, 64, dtype=torch.bfloat16, device="cuda")
    grid = (triton.cdiv(length, 64), 4, batch * n_heads)
    kernels.within_kernel[grid](q, k, sums, scores, length, n_heads, num_warps=4)
    return scores


def scan_prefill(kind, q, k, v, log_decay=None, beta=None, states_shape=None, outputs_shape=None):
    """(o, final state [batch, n_heads, 128, value_dim] f32). Shapes are (columns, warps, stages), None: chosen."""
    batch, length, n_heads, value = v.shape
    gate = GATES[kind]
    n_chunks = triton.cdiv(length, 64)
    sums = chunk_sums(log_decay) if gate else None
    w, u = None, v
    if has_delta(kind):
        q, k = unit_norm(q), unit_norm(k)
        w, u = stage_delta(k, v, sums, beta)
    scores = within(q, k, sums) if gate == 2 else None
    states = torch.empty(batch, n_chunks, n_heads, KEY, value, dtype=torch.bfloat16, device="cuda")
    final = torch.empty(batch, n_heads, KEY, value, dtype=torch.float32, device="cuda")
    new_values = torch.empty_like(v) if has_delta(kind) else v
    block, warps, stages = states_shape or ((32, 4, 2) if has_delta(kind) else (64, 4, 2))
    kernels.states_kernel[(value // block, batch * n_heads)](
        k,
        u,
        k if w is None else w,
        k if sums is None else sums,
        states,
        new_values,
        final,
        length,
        n_heads,
        value,
        block,
        gate,
        has_delta(kind),
        num_warps=warps,
        num_stages=stages,
    )
    o = torch.empty_like(v)
    block, warps, stages = outputs_shape or (128, 8, 2)
    kernels.outputs_kernel[(value // block, n_chunks, batch * n_heads)](
        q,
        k,
        new_values,
        k if sums is None else sums,
        k if scores is None else scores,
        states,
        o,
        length,
        KEY**-0.5,
        n_heads,
        value,
        block,
        64,
        gate,
        num_warps=warps,
        num_stages=stages,
    )
    return o, final


def scan_decode(kind, q, k, v, log_decay, beta, state):
    """o of one token; q and k [batch, n_heads, 128], v [batch, n_heads, value_dim], log_decay and beta [batch, n_heads];
    state [batch, n_heads, value_dim, 128] f32, updated in place."""
    batch, n_heads, value = v.shape
    o = torch.empty_like(v)
    kernels.decode_kernel[(value // 32, batch * n_heads)](
        q, k, v, log_decay, beta, state, o, KEY**-0.5, value, 32, GATES[kind], has_delta(kind), num_warps=1
    )
    return o


def inputs(batch, length, n_heads, value, kind):
    def normal(width):
        return torch.randn(batch, length, n_heads, width, dtype=torch.bfloat16, device="cuda")

    def uniform(low, high, *more):
        return torch.empty(batch, length, n_heads, *more, device="cuda").uniform_(low, high)

    more = (KEY,) if GATES[kind] == 2 else ()
    q, k, v = normal(KEY), normal(KEY) * KEY**-0.5, normal(value)
    return q, k, v, uniform(-0.1, 0.0, *more) if GATES[kind] else None, uniform(0.0, 1.0) if has_delta(kind) else None


def plain(kind, q, k, v, log_decay, beta):
    """Token by token in f64."""
    q, k, v = (x.double() for x in (q, k, v))
    batch, length, n_heads, value = v.shape
    if has_delta(kind):
        q, k = (x / x.square().sum(-1, keepdim=True).add(1e-6).sqrt() for x in (q, k))
    state = torch.zeros(batch, n_heads, KEY, value, dtype=torch.float64, device="cuda")
    rows = []
    for t in range(length):
        if log_decay is not None:
            decay = log_decay[:, t].double().exp()
            state = state * (decay[..., None] if decay.dim() == 3 else decay[..., None, None])
        r = v[:, t]
        if has_delta(kind):
            r = beta[:, t].double()[..., None] * (r - torch.einsum("bhk,bhkv->bhv", k[:, t], state))
        state = state + k[:, t][..., None] * r[..., None, :]
        rows.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state) * KEY**-0.5)
    return torch.stack(rows, 1), state


def check(kind):
    """Raises if the kernels are off; returns the relative error of a prefill and of a decode step."""

    def off(a, b):
        return ((a.double() - b).norm() / b.norm()).item()

    batch, length, n_heads, value = 2, 300, 3, 256
    given = inputs(batch, length, n_heads, value, kind)
    o, final = scan_prefill(kind, *given)
    expected, state = plain(kind, *given)
    errors = [off(o, expected), off(final, state)]
    if kind in ("gated_delta", "scalar_gate"):
        q, k, v, log_decay, beta = given
        _, before = plain(kind, *(x if x is None else x[:, : length - 1] for x in given))
        held = before.transpose(2, 3).float().contiguous()
        last = [x if x is None else x[:, -1].contiguous() for x in (q, k, v, log_decay, beta)]
        errors += [off(scan_decode(kind, *last, held), expected[:, -1]), off(held, state.transpose(2, 3))]
    if not max(errors) < 0.02:
        raise RuntimeError(f"{kind}: off by {errors} of the plain recurrence")
    return errors


def measure_prefill(kind, point):
    n_heads = min(16, point["batch_heads"])
    given = inputs(point["batch_heads"] // n_heads, point["length"], n_heads, KEY, kind)
    scan_prefill(kind, *given)  # compiles
    seconds, spread = time_in_graph(lambda index: scan_prefill(kind, *given), graph_seconds=6e-3)
    return LIBRARY_FACTORS[kind] * seconds, spread


def measure_decode(point):
    n_heads = min(16, point["batch_heads"])
    batch = point["batch_heads"] // n_heads
    q, k, v, log_decay, beta = (x[:, 0].contiguous() for x in inputs(batch, 1, n_heads, KEY, "gated_delta"))
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    sets = max(1, min(100, 4 * l2 // (65536 * point["batch_heads"]) + 1))
    states = torch.randn(sets, batch, n_heads, KEY, KEY, device="cuda")
    scan_decode("gated_delta", q, k, v, log_decay, beta, states[0])  # compiles
    return time_in_graph(
        lambda i: scan_decode("gated_delta", q, k, v, log_decay, beta, states[i % sets]), graph_seconds=6e-3
    )


def write_table(folder, stem, axes, measure, deadline):
    """Measures what the folder lacks; False if the deadline came first."""
    final = folder / f"{stem}_library.csv"
    if final.exists():
        return True
    partial = final.with_suffix(".csv.partial")
    names = list(axes)
    known = set()
    if partial.exists():
        with partial.open() as rows:
            known = {tuple(int(row[name]) for name in names) for row in csv.DictReader(rows) if row.get("clock_mhz")}
    else:
        partial.write_text(",".join([*names, "seconds", "spread", "clock_mhz"]) + "\n")
    for values in itertools.product(*axes.values()):
        if values in known:
            continue
        if time.monotonic() > deadline:
            return False
        torch.cuda.empty_cache()
        seconds, spread = measure(dict(zip(names, values)))
        row = [*map(str, values), f"{seconds:.5g}", f"{spread:.3g}", str(torch.cuda.clock_rate())]
        with partial.open("a") as out:
            out.write(",".join(row) + "\n")
    partial.rename(final)
    return True


def list_in_machine(folder, entries):
    """Names the tables in machine.json, where there is one."""
    file = folder / "machine.json"
    if not file.exists():
        return
    machine = json.loads(file.read_text())
    files = {entry["file"] for entry in entries}
    machine["tables"] = [table for table in machine.get("tables", []) if table["file"] not in files] + entries
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
        sys.exit("library_scan.py: no GPU: run on a machine with an NVIDIA GPU and PyTorch for CUDA")
    torch.set_grad_enabled(False)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + arguments.seconds
    how = f"(PyTorch {torch.__version__}, Triton {triton.__version__})"
    entries = []
    for kind in GATES:
        print(f"{kind}: relative errors {[f'{error:.1e}' for error in check(kind)]}", flush=True)
        axes = QUICK_PREFILL_AXES if arguments.quick else PREFILL_AXES
        stem = f"scan_prefill_{kind}"
        if not write_table(arguments.folder, stem, axes, lambda point: measure_prefill(kind, point), deadline):
            return
        factor = LIBRARY_FACTORS[kind]
        kernel = f"Triton chunk kernels, one launch a stage {how}, times {factor} to the library's at 8 x 2048 tokens"
        entry = {"file": f"{stem}_library.csv", "kernel": kernel, "library": True, "operation": "scan_prefill"}
        entries.append({**entry, "precision": "bf16", "scan": kind})
        list_in_machine(arguments.folder, entries)
    axes = QUICK_DECODE_AXES if arguments.quick else DECODE_AXES
    if write_table(arguments.folder, "scan_decode", axes, measure_decode, deadline):
        kernel = f"Triton recurrent step {how}"
        entries.append(
            {"file": "scan_decode_library.csv", "kernel": kernel, "library": True, "operation": "scan_decode"}
        )
        list_in_machine(arguments.folder, entries)


if __name__ == "__main__":
    main()
