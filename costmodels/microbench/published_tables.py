#!/usr/bin/env python3
"""Adds to a GPU's calibration what no single GPU can measure: tables that others measured and published.

    python3 published_tables.py FOLDER DATA

DATA holds h100_custom_allreduce_vllm.csv, h100_nccl.csv and h100_kda_sglang.csv of ai-dynamo/aiconfigurator (one node of
eight H100 SXM; Apache-2.0). Written into FOLDER and listed in its machine.json, each marked as published:

  all_reduce.csv, all_gather.csv           seconds over devices and bytes of the whole tensor; an all-reduce is the faster
                                           of the one- and two-shot kernels and NCCL. H100 and H200 nodes have the same
                                           links, 450 GB/s each way.
  scan_prefill_vector_gated_delta_library.csv  the chunked Triton kernels of Kimi delta attention. If the machine is no
                                           H100: their ratio to an H100's roofline, times this machine's roofline.
"""

import argparse
import csv
import json
import os
from pathlib import Path

LINK_BYTES_PER_SECOND = 450e9  # NVLink of H100 and H200 SXM, each direction, by the data sheet
LINK_LATENCY_SECONDS = 3.7e-6  # least all-reduce of two, less a launch
H100_READ_BYTES_PER_SECOND = 3.23e12  # an H200's measured 4.63e12 times 3.35/4.8
SOURCE = "published (ai-dynamo/aiconfigurator), one node of 8 H100 SXM"
HEAD_BYTES = 2 * 4 * 128 + 4 * 129  # q, k, v and o, the gates, of a token and head


def rows_of(file):
    with file.open() as rows:
        return list(csv.DictReader(rows))


def collective_points(data, operation):
    """{(devices, bytes): seconds}, the fastest way to do it."""
    found = {}

    def offer(row):
        point = (int(row["n_gpus"]), 2 * int(row["elements"]))
        seconds = float(row["latency_ms"]) * 1e-3
        found[point] = min(found.get(point, seconds), seconds)

    for row in rows_of(data / "h100_nccl.csv"):
        if row["operation"] == operation and row["dtype"] == "half":
            offer(row)
    if operation == "all_reduce":
        for row in rows_of(data / "h100_custom_allreduce_vllm.csv"):
            if row["mode"] == "vllm_graph":
                offer(row)
    return found


def scan_points(data, machine):
    """{(batch_heads, length): seconds} of chunk_kda, from the most heads a sequence that were measured."""
    rate = machine["ceilings"]["read_bytes_per_second"]
    launch = machine["ceilings"]["graph_launch_seconds"]
    same = "H100" in machine["provenance"]["device"]
    found = {}
    for row in sorted(rows_of(data / "h100_kda_sglang.csv"), key=lambda row: int(row["n_k_heads"])):
        if row["kernel"] != "chunk_kda":
            continue
        heads, length = int(row["batch"]) * int(row["n_k_heads"]), int(row["length"])
        bytes_moved = heads * length * HEAD_BYTES
        scale = (launch + bytes_moved / rate) / (launch + bytes_moved / H100_READ_BYTES_PER_SECOND)
        found[(heads, length)] = float(row["latency_ms"]) * 1e-3 * (1 if same else scale)
    return found


def write_table(folder, stem, axes, points):
    """The points whose coordinates are all on the axes; raises if one is missing."""
    lines = [",".join([*axes, "seconds", "spread", "clock_mhz"])]
    for first in list(axes.values())[0]:
        for second in list(axes.values())[1]:
            lines.append(f"{first},{second},{points[(first, second)]:.5g},0,0")
    (folder / f"{stem}.csv").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    file = arguments.folder / "machine.json"
    machine = json.loads(file.read_text())
    entries = []
    for operation, name in (("all_reduce", "one- and two-shot kernels or NCCL 2.29"), ("all_gather", "NCCL 2.29")):
        points = collective_points(arguments.data, operation)
        sizes = [2**power for power in range(9, 30) if all((devices, 2**power) in points for devices in (2, 4, 8))]
        write_table(arguments.folder, operation, {"devices": [2, 4, 8], "bytes": sizes}, points)
        entry = {"file": f"{operation}.csv", "kernel": f"{name}: {SOURCE}", "library": True}
        entries.append({**entry, "operation": "collective", "collective": operation})
    stem = "scan_prefill_vector_gated_delta_library"
    lengths = [256, 512, 1024, 2048, 4096, 8192, 16384]
    points = scan_points(arguments.data, machine)
    axes = {"batch_heads": [12, 24, 48, 96, 192], "length": lengths}
    write_table(arguments.folder, stem, axes, points)
    scaled = "" if "H100" in machine["provenance"]["device"] else ", times this machine's roofline over an H100's"
    kernel = f"chunk_kda (Triton, SGLang 0.5.16): {SOURCE}{scaled}"
    entry = {"file": f"{stem}.csv", "kernel": kernel, "library": True, "operation": "scan_prefill"}
    entries.append({**entry, "precision": "bf16", "scan": "vector_gated_delta"})
    machine["ceilings"]["link_bytes_per_second"] = LINK_BYTES_PER_SECOND
    machine["ceilings"]["link_latency_seconds"] = LINK_LATENCY_SECONDS
    files = {entry["file"] for entry in entries}
    machine["tables"] = [table for table in machine["tables"] if table["file"] not in files] + entries
    temporary = file.with_suffix(".json.partial")
    temporary.write_text(json.dumps(machine, indent=2) + "\n")
    os.replace(temporary, file)


if __name__ == "__main__":
    main()
