#!/usr/bin/env python3
"""Times whole random hybrid decoders on a GPU, to check predictions against; nothing is ever fitted to these times.

    python3 measure_hybrids.py OUT.jsonl [--models N] [--seed S] [--seconds S]

Like measure_decoders.py, with most layers' attention replaced by a recurrence: a gated delta rule (short convolution,
unit norms, gates, scan, gated norm) or one with a scalar gate a head (rotary embedding instead of the unit norms). One
product makes queries, keys, values, output gate and gate logits; the convolution, the gates, the rotation and the gated
norm are one Triton kernel each; the scan is costmodels/microbench/library_scan.py's, its states in f32.
"""

import argparse
import datetime
import json
import math
import random
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
from hybrid_kernels import convolution, gated_norm, gates, rotate
from measure_decoders import DECODES, PREFILLS, Decoder, Model, measure, random_decoder
from library_scan import plain, scan_decode, scan_prefill

KEY = 128


@dataclass
class Hybrid(Decoder):
    kind: str = "gated_delta"
    scan_heads: int = 16
    value_dim: int = 128
    convolution: bool = True
    period: int = 4  # the last of so many layers attends

    def scan_widths(self):
        """Columns of q, k, v; of the output gate; of the gate logits."""
        values = self.scan_heads * self.value_dim
        logits = 2 * self.scan_heads if self.kind == "gated_delta" else self.scan_heads
        return 2 * self.scan_heads * KEY + values, values, logits

    def attends(self, layer):
        return layer % self.period == self.period - 1

    def scan_parameters(self):
        return self.d_model * (sum(self.scan_widths()) + self.scan_heads * self.value_dim + 3 * self.d_ff + 2)

    def parameters(self):
        embeddings = self.vocab_size * self.d_model * (1 if self.tied_embeddings else 2)
        attending = self.n_layers // self.period
        return attending * self.layer_parameters() + (self.n_layers - attending) * self.scan_parameters() + embeddings

    def kept_bytes(self, batch, context):
        attending = self.n_layers // self.period
        state = 4 * batch * self.scan_heads * KEY * self.value_dim
        cache = 4 * batch * context * self.n_kv_heads * self.head_dim
        return attending * cache + (self.n_layers - attending) * state

    def native_form(self, name):
        feed_forward = {"kind": "swiglu", "d_ff": self.d_ff}
        scan = {"n_heads": self.scan_heads, "key_dim": KEY, "value_dim": self.value_dim}
        scan["conv_width"] = 4 if self.convolution else 0
        if self.kind == "gated_delta":
            scan["kind"] = "gated_delta_net"
        else:
            scan |= {"kind": "retnet", "data_dependent_gate": True}
        softmax = {"kind": "softmax", "n_heads": self.n_heads, "n_kv_heads": self.n_kv_heads}
        softmax |= {"head_dim": self.head_dim, "window": 0, "sinks": 0}
        layers = [{"mixer": scan, "feed_forward": feed_forward}] * (self.period - 1)
        return {
            "name": name,
            "d_model": self.d_model,
            "vocab_size": self.vocab_size,
            "tied_embeddings": self.tied_embeddings,
            "blocks": [
                {
                    "repeat": self.n_layers // self.period,
                    "layers": [*layers, {"mixer": softmax, "feed_forward": feed_forward}],
                }
            ],
        }


def random_hybrid(rng):
    while True:
        dense = random_decoder(rng)
        values = rng.choice([128, 128, 256])
        hybrid = Hybrid(
            **vars(dense),
            kind=rng.choice(["gated_delta", "gated_delta", "scalar_gate"]),
            scan_heads=max(4, round(dense.d_model * rng.choice([0.75, 1, 1]) / KEY)),
            value_dim=values,
            convolution=True,
            period=rng.choice([2, 4, 4, 8]),
        )
        hybrid.n_layers = max(1, round(dense.n_layers / hybrid.period)) * hybrid.period
        if 0.9e9 < hybrid.parameters() < 9e9:
            return hybrid


class HybridModel(Model):
    """Random weights of one hybrid decoder, and one pass over it."""

    def __init__(self, decoder):
        super().__init__(decoder)
        channels, values, logits = decoder.scan_widths()
        for layer, weights in enumerate(self.layers):
            if decoder.attends(layer):
                continue
            # whole cache lines a row: a product of odd width runs at a fraction of its speed
            columns = math.ceil((channels + values + logits) / 64) * 64
            weights["qkv"] = self.weight(columns, decoder.d_model)
            weights["out"] = self.weight(decoder.d_model, values)
            weights["taps"] = self.weight(4, channels)
        self.value_norm = torch.ones(decoder.value_dim, dtype=torch.bfloat16, device="cuda")
        self.log_rate = torch.full((decoder.scan_heads,), -2.0, device="cuda")
        self.bias = torch.zeros(decoder.scan_heads, device="cuda")

    def attend(self, hidden, weights, kept, cosine_sine, positions, shape):
        decoder = self.decoder
        qkv = F.linear(hidden, weights["qkv"]).view(*shape, -1, decoder.head_dim)
        q = rotary_cache(qkv, cosine_sine, positions, *kept, decoder.n_heads)
        k_cache, v_cache = kept
        mixed = self.attention(q.transpose(1, 2), k_cache.transpose(1, 2), v_cache.transpose(1, 2), shape[1] > 1)
        return mixed.transpose(1, 2).reshape(shape[0] * shape[1], -1)

    def recur(self, hidden, weights, kept, cosine_sine, positions, shape):
        decoder, (batch, length) = self.decoder, shape
        channels, values, _ = decoder.scan_widths()
        heads, delta = decoder.scan_heads, decoder.kind == "gated_delta"
        tail, state = kept
        projected = F.linear(hidden, weights["qkv"])
        qk, v = convolution(projected, heads * KEY, channels, weights["taps"], tail, length)
        log_decay, beta = gates(projected[:, channels + values :], self.log_rate, self.bias, delta)
        if not delta:
            rotate(qk, heads, self.turns, positions, length)
        q, k, v = (x.view(batch, length, heads, -1) for x in (*qk, v))
        if length == 1:
            o = scan_decode(decoder.kind, q[:, 0], k[:, 0], v[:, 0], log_decay, beta, state)
        else:
            per_token = [x if x is None else x.view(batch, length, heads) for x in (log_decay, beta)]
            o = scan_prefill(decoder.kind, q, k, v, *per_token)[0]
        o = o.view(batch * length, heads, -1)
        return gated_norm(o, projected[:, channels : channels + values], self.value_norm).view(batch * length, -1)

    def run(self, ids, positions, kept, cosine_sine):
        """ids [batch, length]; kept: (k, v) caches or (convolution tail, state) a layer. Logits of each last token."""
        decoder = self.decoder
        batch, length = ids.shape
        residual = F.embedding(ids, self.embedding).view(batch * length, decoder.d_model)
        update = None
        for layer, weights in enumerate(self.layers):
            hidden = add_rms_norm(update, residual, self.norm)
            mix = self.attend if decoder.attends(layer) else self.recur
            update = F.linear(mix(hidden, weights, kept[layer], cosine_sine, positions, ids.shape), weights["out"])
            hidden = add_rms_norm(update, residual, self.norm)
            update = F.linear(swiglu(F.linear(hidden, weights["gate_up"])), weights["down"])
        if length > 1:
            update, residual = (x.view(batch, length, -1)[:, -1].contiguous() for x in (update, residual))
        return F.linear(add_rms_norm(update, residual, self.norm), self.head)

    def prepare(self, phase, batch, context):
        decoder = self.decoder
        channels = decoder.scan_widths()[0]
        kept = []
        for layer in range(decoder.n_layers):
            if decoder.attends(layer):
                shape = (batch, context, decoder.n_kv_heads, decoder.head_dim)
                kept.append(tuple(torch.empty(shape, dtype=torch.bfloat16, device="cuda") for _ in range(2)))
            else:
                tail = torch.zeros(batch, 3, channels, dtype=torch.bfloat16, device="cuda")
                shape = (batch, decoder.scan_heads, decoder.value_dim, KEY)
                kept.append((tail, torch.randn(shape, device="cuda") if phase == "decode" else None))
            if phase == "decode" and decoder.attends(layer):
                for tensor in kept[-1]:
                    tensor.normal_()
        length = context if phase == "prefill" else 1
        ids = torch.randint(decoder.vocab_size, (batch, length), device="cuda")
        positions = torch.full((batch,), context - length, dtype=torch.int32, device="cuda")
        self.turns = turns(context, KEY)
        return ids, positions, kept, turns(context, decoder.head_dim)


def turns(context, head_dim):
    frequencies = 1e4 ** -torch.linspace(0, 1, head_dim // 2, device="cuda")
    angles = torch.outer(torch.arange(context, device="cuda"), frequencies)
    return torch.stack((angles.cos(), angles.sin()), -1).contiguous()


def norm(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def rotated(x, table):
    cosine, sine = table[:, :, 0][:, None], table[:, :, 1][:, None]
    left, right = x.chunk(2, -1)
    return torch.cat((left * cosine - right * sine, right * cosine + left * sine), -1)


def plain_mixer(model, x, weights, attends, tables):
    """What attend() and recur() compute, in plain operations; x [batch, length, d_model] f32, normed."""
    decoder = model.decoder
    batch, length, _ = x.shape
    projected = x @ weights["qkv"].float().T
    if attends:
        qkv = projected.view(batch, length, -1, decoder.head_dim)
        q, k, v = qkv.split((decoder.n_heads, decoder.n_kv_heads, decoder.n_kv_heads), 2)
        q, k, v = (t.transpose(1, 2) for t in (rotated(q, tables), rotated(k, tables), v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return mixed.transpose(1, 2).flatten(2)
    channels, values, _ = decoder.scan_widths()
    taps = weights["taps"].float().T[:, None]
    convolved = F.silu(F.conv1d(projected[..., :channels].mT, taps, padding=3, groups=channels)[..., :length].mT)
    heads = decoder.scan_heads
    q, k, v = convolved.split((heads * KEY, heads * KEY, values), -1)
    q, k, v = (t.reshape(batch, length, heads, -1) for t in (q, k, v))
    if decoder.kind != "gated_delta":
        q, k = rotated(q, model.turns), rotated(k, model.turns)
    logits = projected[..., channels + values :]
    log_decay = -model.log_rate.exp() * F.softplus(logits[..., :heads] + model.bias)
    beta = logits[..., heads : 2 * heads].sigmoid() if decoder.kind == "gated_delta" else None
    o = plain(decoder.kind, q, k, v, log_decay, beta)[0].float()
    gate = projected[..., channels : channels + values].view(o.shape)
    return (norm(o) * F.silu(gate)).flatten(2)


def check_against_plain(model):
    """Raises if the fused pass differs from the same model in plain operations, or a step from the pass."""
    decoder, length = model.decoder, 96
    ids, positions, kept, tables = model.prepare("prefill", 2, length)
    fused = model.run(ids, positions, kept, tables).float()
    x = F.embedding(ids, model.embedding).float()
    for layer, weights in enumerate(model.layers):
        x = x + plain_mixer(model, norm(x), weights, decoder.attends(layer), tables) @ weights["out"].float().T
        gate, up = (norm(x) @ weights["gate_up"].float().T).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ weights["down"].float().T
    expected = norm(x[:, -1]) @ model.head.float().T
    error = ((fused - expected).norm() / expected.norm()).item()
    if not error < 0.05:
        raise RuntimeError(f"the fused hybrid is off by {error:.3g} of the plain one")
    return error


def cases(rng, decoder):
    """Three prefills and four decode steps that fit beside the weights."""
    room = 0.75 * torch.cuda.get_device_properties(0).total_memory - 2 * decoder.parameters()

    def activations(tokens):
        scan = tokens * decoder.scan_heads * 16 * (KEY + decoder.value_dim)
        return 2 * tokens * (2 * decoder.d_model + 3 * decoder.d_ff + sum(decoder.scan_widths())) + scan

    prefills = [(b, c) for b, c in PREFILLS if decoder.kept_bytes(b, c) + activations(b * c) < room]
    decodes = [(b, c) for b, c in DECODES if decoder.kept_bytes(b, c) < room]
    chosen = [("prefill", *case) for case in rng.sample(prefills, 3)]
    return chosen + [("decode", *case) for case in rng.sample(decodes, 4)]


def small(kind):
    sizes = {"d_model": 1024, "n_layers": 2, "n_heads": 12, "n_kv_heads": 4, "head_dim": 64, "d_ff": 2816}
    return Hybrid(**sizes, vocab_size=1000, tied_embeddings=False, kind=kind, scan_heads=6, value_dim=256, period=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so long")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("measure_hybrids.py: no GPU: run on a machine with an NVIDIA GPU and PyTorch for CUDA")
    torch.set_grad_enabled(False)
    rng = random.Random(arguments.seed)
    deadline = time.monotonic() + arguments.seconds
    for kind in ("gated_delta", "scalar_gate"):
        print(f"{kind}, fused against plain: {check_against_plain(HybridModel(small(kind))):.2g}", flush=True)
    where = {
        "device": torch.cuda.get_device_name(),
        "toolchain": f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, Triton {triton.__version__}",
        "date": datetime.date.today().isoformat(),
    }
    with arguments.out.open("a") as out:
        for index in range(arguments.models):
            decoder = random_hybrid(rng)
            chosen = cases(rng, decoder)
            if time.monotonic() > deadline:
                break
            model = HybridModel(decoder)
            name = f"{decoder.kind}-{arguments.seed}-{index:02d}-{decoder.parameters() / 1e9:.1f}b"
            for phase, batch, context in chosen:
                seconds, spread = measure(model, phase, batch, context)
                case = {
                    "architecture": decoder.native_form(name),
                    "parameters": decoder.parameters(),
                    "phase": phase,
                    "batch": batch,
                    "context": context,
                    "seconds": float(f"{seconds:.5g}"),
                    "spread": round(spread, 4),
                    "clock_mhz": torch.cuda.clock_rate(),
                    "attention": sorted(set(model.backends.values())),
                    **where,
                }
                out.write(json.dumps(case) + "\n")
                out.flush()
                print(f"{name} {phase} {batch} x {context}: {seconds * 1e3:.4g} ms", flush=True)
                model.backends.clear()
                torch.cuda.empty_cache()
            del model
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
