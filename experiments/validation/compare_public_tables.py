#!/usr/bin/env python3
"""Compares a calibration with kernel times that others measured on an H100 and published: ratio theirs/ours by shape.

    python3 compare_public_tables.py CALIBRATION DATA > public_tables.md

CALIBRATION is a measured folder (h200-sxm5-141gb); its tables are moved to an H100 as the latency model moves them: the
ratio of each time to the machine's roofline, times the H100's roofline. DATA holds h100_gemm_bf16_vllm.csv,
h100_gemm_fp8_vllm.csv, h100_attention_prefill_bf16_vllm.csv and h100_attention_decode_vllm.csv of
ai-dynamo/aiconfigurator, and the h100_*.csv of BLIS in a folder beside it.
"""

import argparse
import bisect
import csv
import json
import math
import statistics
from pathlib import Path

H100_MEMORY = 3.35 / 4.8  # of an H200's, by the data sheets


class Model:
    """Times of one kernel on an H100, interpolated in a calibration's table."""

    def __init__(self, folder, stem, machine, work):
        """work(point) gives (FLOPs, FLOP/s, bytes) of a grid point, a dict."""
        with (folder / f"{stem}.csv").open() as file:
            rows = list(csv.DictReader(file))
        names = list(rows[0])
        self.names = names[: names.index("seconds")]
        self.ceilings, self.work = machine["ceilings"], work
        points = {tuple(float(row[name]) for name in self.names): float(row["seconds"]) for row in rows}
        self.axes = [sorted({point[i] for point in points}) for i in range(len(self.names))]
        self.log_ratio = {p: math.log(t / self.roofline(dict(zip(self.names, p)), 1)) for p, t in points.items()}

    def roofline(self, point, memory):
        operations, rate, bytes_moved = self.work(point)
        moving = bytes_moved / (self.ceilings["read_bytes_per_second"] * memory)
        return self.ceilings["graph_launch_seconds"] + max(operations / rate, moving)

    def seconds(self, point):
        """None outside the grid."""
        corners = [((), 1.0)]
        for name, axis in zip(self.names, self.axes):
            value = point[name]
            if not axis[0] <= value <= axis[-1]:
                return None
            high = min(bisect.bisect_right(axis, value), len(axis) - 1)
            low = high - 1
            weight = math.log(value / axis[low]) / math.log(axis[high] / axis[low])
            corners = [
                ((*corner, axis[end]), share * part)
                for corner, share in corners
                for end, part in ((low, 1 - weight), (high, weight))
                if part > 0
            ]
        ratio = sum(share * self.log_ratio[corner] for corner, share in corners)
        return math.exp(ratio) * self.roofline(point, H100_MEMORY)


def rows_of(file):
    with file.open() as rows:
        return list(csv.DictReader(rows))


def report(title, cases, key):
    """cases: (row, theirs, ours). A table of ratios grouped by key(row)."""
    groups = {}
    for row, theirs, ours in cases:
        groups.setdefault(key(row), []).append((theirs / ours, theirs - ours))
    everything = sorted(theirs / ours for _, theirs, ours in cases)
    print(f"## {title}\n")
    within = sum(1 / 1.5 <= ratio <= 1.5 for ratio in everything) / len(everything)
    print(
        f"{len(everything)} shapes; theirs/ours: median {statistics.median(everything):.2f}, 10% to 90% "
        f"{everything[len(everything) // 10]:.2f} to {everything[len(everything) * 9 // 10]:.2f}; "
        f"{100 * within:.1f}% within a factor of 1.5.\n"
    )
    print(
        "| shapes | count | median | 10% | 90% | beyond 1.5 | theirs - ours there, us |\n|---|---|---|---|---|---|---|"
    )
    for name in sorted(groups):
        ratios = sorted(ratio for ratio, _ in groups[name])
        far = [1e6 * more for ratio, more in groups[name] if not 1 / 1.5 <= ratio <= 1.5]
        more = f"{statistics.median(far):.1f}" if far else "-"
        ends = ratios[len(ratios) // 10], ratios[len(ratios) * 9 // 10]
        median = statistics.median(ratios)
        print(f"| {name[1]} | {len(ratios)} | {median:.2f} | {ends[0]:.2f} | {ends[1]:.2f} | {len(far)} | {more} |")
    print()


def between(value, edges, what):
    """(order, label) of the class a value falls in."""
    index = bisect.bisect_right(edges, value)
    if index == 0:
        return index, f"{what} below {edges[0]:,}"
    if index == len(edges):
        return index, f"{what} from {edges[-1]:,}"
    return index, f"{what} {edges[index - 1]:,} to {edges[index] - 1:,}"


def paired(rows, model, point_of, milliseconds="latency_ms", unit=1e-3):
    cases = []
    for row in rows:
        ours = model.seconds(point_of(row))
        if ours is not None:
            cases.append((row, float(row[milliseconds]) * unit, ours))
    return cases


def gemm_work(machine, precision, bytes_each):
    rate = machine["ceilings"][f"{precision}_flops_per_second"]
    return lambda p: (
        2 * p["m"] * p["n"] * p["k"],
        rate,
        bytes_each * (p["m"] * p["k"] + p["k"] * p["n"] + p["m"] * p["n"]),
    )


def prefill_work(machine):
    rate = machine["ceilings"]["bf16_flops_per_second"]

    def work(p):
        length, heads, width = p["query_length"], p["batch_heads"], p["head_dim"]
        return 2 * heads * width * length * (length + 1), rate, 2 * heads * width * length * 2.5

    return work


def decode_work(machine):
    rate = machine["ceilings"]["bf16_flops_per_second"]

    def work(p):
        heads = p["batch_kv_heads"]
        rows = heads * p["group"] * p["head_dim"]
        return 4 * rows * p["context"], rate, 4 * heads * p["head_dim"] * p["context"] + 4 * rows

    return work


def whole(row, *names):
    return (float(row[name]) for name in names)


def compare_gemm(folder, machine, data):
    for precision, bytes_each in (("bf16", 2), ("fp8", 1)):
        if not (folder / f"gemm_{precision}.csv").exists():
            continue
        model = Model(folder, f"gemm_{precision}", machine, gemm_work(machine, precision, bytes_each))
        rows = rows_of(data / f"h100_gemm_{precision}_vllm.csv")
        cases = paired(rows, model, lambda row: dict(zip("mnk", whole(row, "m", "n", "k"))))
        report(
            f"Products, {precision}: vLLM 0.24", cases, lambda row: between(int(row["m"]), [16, 128, 1024, 8192], "m")
        )
    model = Model(folder, "gemm_bf16", machine, gemm_work(machine, "bf16", 2))
    rows = rows_of(data.parent / "blis" / "h100_gemm_bf16.csv")
    # by its own mfu column each product has half the FLOPs of its m, k and n; at full they would be at 1.25 times the peak
    halved = [{**row, "n": float(row["n"]) / 2} for row in rows]
    cases = paired(halved, model, lambda row: dict(zip("mnk", whole(row, "m", "n", "k"))), "latency_us", 1e-6)
    report("Products, bf16: BLIS", cases, lambda row: between(int(row["m"]), [16, 128, 1024], "m"))


def compare_prefill(folder, machine, data):
    rows = [row for row in rows_of(data / "h100_attention_prefill_bf16_vllm.csv") if row["window"] == "0"]

    def point(row):
        batch, length, heads, width = whole(row, "batch", "length", "n_heads", "head_dim")
        return {"head_dim": width, "batch_heads": batch * heads, "query_length": length}

    for stem, name in (("attention_prefill_bf16", "own kernel"), ("attention_prefill_bf16_library", "cuDNN or FA-2")):
        model = Model(folder, stem, machine, prefill_work(machine))
        report(
            f"Prefill attention, {name}: vLLM 0.24 (FlashAttention-3 and 4)",
            paired(rows, model, point),
            lambda row: between(int(row["length"]), [1024, 4096, 16384], "length"),
        )


def compare_decode(folder, machine, data):
    rows = [
        row
        for row in rows_of(data / "h100_attention_decode_vllm.csv")
        if row["window"] == "0" and row["kv_dtype"] == "bfloat16"
    ]

    def point(row):
        batch, context, heads, kv_heads, width = whole(row, "batch", "context", "n_heads", "n_kv_heads", "head_dim")
        return {"head_dim": width, "group": heads / kv_heads, "batch_kv_heads": batch * kv_heads, "context": context}

    def cache(row):
        batch, context, kv_heads, width = whole(row, "batch", "context", "n_kv_heads", "head_dim")
        return between(int(4 * batch * context * kv_heads * width) >> 20, [1, 16, 128, 1024], "cache MiB")

    for stem, name in (("attention_decode_bf16", "own kernel"), ("attention_decode_bf16_library", "cuDNN or FA-2")):
        model = Model(folder, stem, machine, decode_work(machine))
        report(f"Decode attention, {name}: vLLM 0.24 (FlashAttention-3, paged)", paired(rows, model, point), cache)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calibration", type=Path)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    machine = json.loads((arguments.calibration / "machine.json").read_text())
    for compare in (compare_gemm, compare_prefill, compare_decode):
        compare(arguments.calibration, machine, arguments.data)


if __name__ == "__main__":
    main()
