#!/usr/bin/env python3
"""Times whole random decoder models on a GPU, to check predictions against; nothing is ever fitted to these times.

    python3 measure_decoders.py OUT.jsonl [--models N] [--seed S] [--seconds S]

One JSON line a case: the architecture in the native form, phase, batch, context, seconds (median of replays of one
captured CUDA graph of the whole pass: a prefill of `context` tokens a sequence with logits of each last token, or one
decode step whose new token sees `context` keys), and where it was measured. Models are dense, 1B to 8B parameters, wide
and deep, from full to strongly grouped heads; bf16; query, key and value projections are one product, gate and up
projections another. Attention is PyTorch's faster backend for the shape; RMSNorm with its residual, rotary embedding with
its cache write, and SwiGLU are one Triton kernel each.
"""

import argparse
import datetime
import json
import math
import random
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import triton

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "costmodels" / "microbench"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from decoder_kernels import add_rms_norm, rotary_cache, swiglu
from library_attention import BACKENDS, attend, time_in_graph

PREFILLS = [
    (1, 512),
    (1, 2048),
    (1, 8192),
    (1, 32768),
    (1, 65536),
    (2, 16384),
    (4, 2048),
    (4, 16384),
    (8, 8192),
    (16, 512),
    (16, 4096),
    (64, 1024),
]
DECODES = [
    (batch, context) for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256) for context in (512, 2048, 8192, 32768, 65536)
]


@dataclass
class Decoder:
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    vocab_size: int
    tied_embeddings: bool

    def layer_parameters(self):
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        return self.d_model * (2 * q + 2 * kv + 3 * self.d_ff + 2)

    def parameters(self):
        embeddings = self.vocab_size * self.d_model * (1 if self.tied_embeddings else 2)
        return self.n_layers * self.layer_parameters() + embeddings + self.d_model

    def cache_bytes(self, batch, context):
        return 4 * self.n_layers * batch * context * self.n_kv_heads * self.head_dim

    def native_form(self, name):
        mixer = {"kind": "softmax", "n_heads": self.n_heads, "n_kv_heads": self.n_kv_heads, "head_dim": self.head_dim}
        feed_forward = {"kind": "swiglu", "d_ff": self.d_ff}
        block = {
            "repeat": self.n_layers,
            "layers": [{"mixer": {**mixer, "window": 0, "sinks": 0}, "feed_forward": feed_forward}],
        }
        return {
            "name": name,
            "d_model": self.d_model,
            "vocab_size": self.vocab_size,
            "tied_embeddings": self.tied_embeddings,
            "blocks": [block],
        }


def random_decoder(rng):
    """Sizes uniform in the logarithm; the number of layers makes up the parameters, between 8 and 96 of them."""
    while True:
        target = math.exp(rng.uniform(math.log(1.0e9), math.log(8.5e9)))
        head_dim = rng.choice([64, 128, 128])
        d_model = rng.choice([1024, 1536, 2048, 2560, 3072, 3584, 4096, 5120, 6144])
        n_heads = max(4, round(d_model * rng.choice([0.5, 0.75, 1, 1, 1, 1.25]) / head_dim / 4) * 4)
        groups = [group for group in (1, 1, 2, 4, 4, 8) if n_heads % group == 0]
        decoder = Decoder(
            d_model=d_model,
            n_layers=1,
            n_heads=n_heads,
            n_kv_heads=n_heads // rng.choice(groups),
            head_dim=head_dim,
            d_ff=round(d_model * rng.uniform(1.5, 5.5) / 256) * 256,
            vocab_size=rng.choice([32000, 50304, 128256, 151936]),
            tied_embeddings=rng.random() < 0.5,
        )
        layers = (target - (decoder.parameters() - decoder.layer_parameters())) / decoder.layer_parameters()
        if 8 <= layers <= 96:
            decoder.n_layers = round(layers)
            return decoder


class Model:
    """Random weights of one decoder, and one pass over it."""

    def __init__(self, decoder):
        self.decoder = decoder
        q, kv = decoder.n_heads * decoder.head_dim, decoder.n_kv_heads * decoder.head_dim
        shapes = {
            "qkv": (q + 2 * kv, decoder.d_model),
            "out": (decoder.d_model, q),
            "gate_up": (2 * decoder.d_ff, decoder.d_model),
            "down": (decoder.d_model, decoder.d_ff),
        }
        self.layers = [{name: self.weight(*shape) for name, shape in shapes.items()} for _ in range(decoder.n_layers)]
        self.norm = torch.ones(decoder.d_model, dtype=torch.bfloat16, device="cuda")
        self.embedding = self.weight(decoder.vocab_size, decoder.d_model)
        self.head = self.embedding if decoder.tied_embeddings else self.weight(decoder.vocab_size, decoder.d_model)
        self.backends = {}

    @staticmethod
    def weight(rows, columns):
        return torch.empty(rows, columns, dtype=torch.bfloat16, device="cuda").normal_(0, columns**-0.5)

    def attention(self, q, k, v, causal):
        """The faster backend, found at the first call of a shape, which must be outside a capture."""
        shape = (q.shape, k.shape)
        if shape not in self.backends:
            times = {}
            for backend in BACKENDS:
                try:
                    times[backend] = time_in_graph(lambda i: attend(q, k, v, causal, backend), repetitions=5)[0]
                except RuntimeError as refusal:
                    if "No available kernel" not in str(refusal) and "cuDNN" not in str(refusal):
                        raise
            self.backends[shape] = min(times, key=times.get)
        return attend(q, k, v, causal, self.backends[shape])

    def run(self, ids, positions, caches, cosine_sine):
        """ids [batch, length]; caches: a (k, v) a layer, each [batch, capacity, n_kv_heads, head_dim]. Returns logits
        of each sequence's last token. A prefill fills the cache from the start; a decode step its last row."""
        decoder = self.decoder
        batch, length = ids.shape
        residual = F.embedding(ids, self.embedding).view(batch * length, decoder.d_model)
        update = None
        for weights, (k_cache, v_cache) in zip(self.layers, caches):
            hidden = add_rms_norm(update, residual, self.norm)
            qkv = F.linear(hidden, weights["qkv"]).view(batch, length, -1, decoder.head_dim)
            q = rotary_cache(qkv, cosine_sine, positions, k_cache, v_cache, decoder.n_heads)
            mixed = self.attention(q.transpose(1, 2), k_cache.transpose(1, 2), v_cache.transpose(1, 2), length > 1)
            update = F.linear(mixed.transpose(1, 2).reshape(batch * length, -1), weights["out"])
            hidden = add_rms_norm(update, residual, self.norm)
            update = F.linear(swiglu(F.linear(hidden, weights["gate_up"])), weights["down"])
        if length > 1:
            update, residual = (x.view(batch, length, -1)[:, -1].contiguous() for x in (update, residual))
        return F.linear(add_rms_norm(update, residual, self.norm), self.head)

    def prepare(self, phase, batch, context):
        decoder = self.decoder
        shape = (batch, context, decoder.n_kv_heads, decoder.head_dim)
        caches = [
            tuple(torch.empty(shape, dtype=torch.bfloat16, device="cuda") for _ in range(2)) for _ in self.layers
        ]
        if phase == "decode":
            for cache in caches:
                for tensor in cache:
                    tensor.normal_()
        length = context if phase == "prefill" else 1
        ids = torch.randint(decoder.vocab_size, (batch, length), device="cuda")
        positions = torch.full((batch,), context - length, dtype=torch.int32, device="cuda")
        angles = torch.outer(
            torch.arange(context, device="cuda"), 1e4 ** -torch.linspace(0, 1, decoder.head_dim // 2, device="cuda")
        )
        return ids, positions, caches, torch.stack((angles.cos(), angles.sin()), -1).contiguous()


def check_against_plain(model):
    """Raises if the fused pass differs from the same model written with plain operations in f32."""
    decoder, length = model.decoder, 96
    ids, positions, caches, cosine_sine = model.prepare("prefill", 2, length)
    fused = model.run(ids, positions, caches, cosine_sine).float()

    def norm(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)

    def rotate(x):
        cosine, sine = cosine_sine[:, :, 0][:, None], cosine_sine[:, :, 1][:, None]
        left, right = x.chunk(2, -1)
        return torch.cat((left * cosine - right * sine, right * cosine + left * sine), -1)

    x = F.embedding(ids, model.embedding).float()
    for weights in model.layers:
        qkv = (norm(x) @ weights["qkv"].float().T).view(2, length, -1, decoder.head_dim)
        q, k, v = qkv.split((decoder.n_heads, decoder.n_kv_heads, decoder.n_kv_heads), 2)
        q, k, v = (t.transpose(1, 2) for t in (rotate(q), rotate(k), v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2)
        x = x + mixed @ weights["out"].float().T
        gate, up = (norm(x) @ weights["gate_up"].float().T).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ weights["down"].float().T
    plain = norm(x[:, -1]) @ model.head.float().T
    error = ((fused - plain).norm() / plain.norm()).item()
    if not error < 0.05:
        raise RuntimeError(f"the fused decoder is off by {error:.3g} of the plain one")
    return error


def measure(model, phase, batch, context):
    """(median seconds, spread) of one pass."""
    inputs = model.prepare(phase, batch, context)
    model.run(*inputs)  # picks backends, builds plans
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model.run(*inputs)
    laps = []
    for lap in range(12):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        if lap > 0:  # the first warms up
            laps.append(start.elapsed_time(end) * 1e-3)
        if lap >= 3 and sum(laps) > 0.5:
            break
    graph.reset()
    laps.sort()
    median = statistics.median(laps)
    return median, (laps[-1] - laps[0]) / median


def cases(rng, decoder):
    """Three prefills and four decode steps that fit beside the weights."""
    room = 0.75 * torch.cuda.get_device_properties(0).total_memory - 2 * decoder.parameters()

    def activations(tokens):
        return 2 * tokens * (2 * decoder.d_model + 3 * decoder.d_ff + 3 * decoder.n_heads * decoder.head_dim)

    prefills = [(b, c) for b, c in PREFILLS if decoder.cache_bytes(b, c) + activations(b * c) < room]
    decodes = [(b, c) for b, c in DECODES if decoder.cache_bytes(b, c) < room]
    chosen = [("prefill", *case) for case in rng.sample(prefills, 3)]
    return chosen + [("decode", *case) for case in rng.sample(decodes, 4)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so long")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("measure_decoders.py: no GPU: run on a machine with an NVIDIA GPU and PyTorch for CUDA")
    torch.set_grad_enabled(False)
    rng = random.Random(arguments.seed)
    deadline = time.monotonic() + arguments.seconds
    small = Decoder(
        d_model=1024,
        n_layers=2,
        n_heads=12,
        n_kv_heads=4,
        head_dim=64,
        d_ff=2816,
        vocab_size=1000,
        tied_embeddings=False,
    )
    print(f"fused against plain: {check_against_plain(Model(small)):.2g}", flush=True)
    where = {
        "device": torch.cuda.get_device_name(),
        "toolchain": f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, Triton {triton.__version__}",
        "date": datetime.date.today().isoformat(),
    }
    with arguments.out.open("a") as out:
        for index in range(arguments.models):
            decoder = random_decoder(rng)
            chosen = cases(rng, decoder)
            if time.monotonic() > deadline:
                break
            model = Model(decoder)
            name = f"dense-{arguments.seed}-{index:02d}-{decoder.parameters() / 1e9:.1f}b"
            for phase, batch, context in chosen:
                seconds, spread = measure(model, phase, batch, context)
                case = {
                    "phase": phase,
                    "batch": batch,
                    "context": context,
                    "seconds": float(f"{seconds:.5g}"),
                    "spread": round(spread, 4),
                }
                clock = {"clock_mhz": torch.cuda.clock_rate(), "attention": sorted(set(model.backends.values()))}
                out.write(
                    json.dumps(
                        {
                            "architecture": decoder.native_form(name),
                            "parameters": decoder.parameters(),
                            **case,
                            **clock,
                            **where,
                        }
                    )
                    + "\n"
                )
                out.flush()
                model.backends.clear()
                torch.cuda.empty_cache()
            print(f"{name}: {seconds:.4g} s", flush=True)
            del model
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
