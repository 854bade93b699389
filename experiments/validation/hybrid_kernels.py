"""The small fused operations of a recurrent mixer, in Triton: one launch each, bf16 in and out, f32 inside."""

import torch
import triton
import triton.language as tl


@triton.jit
def convolution_kernel(
    x, x_stride, weight, tail, out, tokens, length, key_width, channels, step: tl.constexpr, rows: tl.constexpr
):
    sequence = tl.program_id(2).to(tl.int64)
    column = tl.program_id(1) * 128 + tl.arange(0, 128)
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    inside = (row < length)[:, None] & (column < channels)[None, :]
    total = tl.zeros((rows, 128), tl.float32)
    for tap in tl.static_range(4):
        from_row = row - 3 + tap
        w = tl.load(weight + tap * channels + column).to(tl.float32)
        at = x + (sequence * length + from_row)[:, None] * x_stride + column[None, :]
        value = tl.load(at, inside & (from_row >= 0)[:, None], other=0.0).to(tl.float32)
        if step:  # a single row, the three before it in the tail
            old = tail + (sequence * 3 + tap) * channels + column
            if tap < 3:
                kept = tl.load(old).to(tl.float32)
                value += kept[None, :]
                if tap > 0:
                    tl.store(old - channels, kept.to(tl.bfloat16))
            else:
                tl.store(old - channels, tl.sum(value, 0).to(tl.bfloat16))
        total += value * w[None, :]
    part = tl.minimum(tl.program_id(1) * 128 // key_width, 2)  # queries, keys or values
    width = tl.where(part == 2, channels - 2 * key_width, key_width)
    to = out + tokens * part * key_width + (sequence * length + row)[:, None] * width
    to += (column - part * key_width)[None, :]
    tl.store(to, (total * tl.sigmoid(total)).to(tl.bfloat16), inside)


def convolution(x, key_width, channels, weight, tail, length):
    """silu of the causal convolution over the first `channels` columns of x [batch * length, ...]; weight [4, channels].
    A step (length 1) reads and shifts tail [batch, 3, channels]. Returns queries and keys [2, batch * length, key_width]
    and values [batch * length, channels - 2 key_width]; widths are multiples of 128."""
    tokens = x.shape[0]
    out = torch.empty(tokens * channels, dtype=x.dtype, device=x.device)
    step = length == 1
    rows = 1 if step else 32
    grid = (triton.cdiv(length, rows), channels // 128, tokens // length)
    convolution_kernel[grid](
        x, x.stride(0), weight, tail, out, tokens, length, key_width, channels, step, rows, num_warps=1 if step else 4
    )
    keys = 2 * tokens * key_width
    return out[:keys].view(2, tokens, key_width), out[keys:].view(tokens, channels - 2 * key_width)


@triton.jit
def gates_kernel(
    x, x_stride, log_rate, bias, log_decay, beta, n_heads, has_beta: tl.constexpr, total, block: tl.constexpr
):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < total
    row, head = (at // n_heads).to(tl.int64), at % n_heads
    logit = tl.load(x + row * x_stride + head, inside, other=0.0).to(tl.float32)
    logit += tl.load(bias + head, inside, other=0.0)
    positive = tl.maximum(logit, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(logit)))
    tl.store(log_decay + at, -tl.exp(tl.load(log_rate + head, inside, other=0.0)) * positive, inside)
    if has_beta:
        b = tl.load(x + row * x_stride + n_heads + head, inside, other=0.0).to(tl.float32)
        tl.store(beta + at, tl.sigmoid(b), inside)


def gates(x, log_rate, bias, has_beta):
    """(log_decay, beta) [rows, n_heads] f32 of the logits x [rows, n_heads or 2 n_heads], rows at any stride."""
    rows, n_heads = x.shape[0], log_rate.shape[0]
    log_decay = torch.empty(rows, n_heads, device=x.device)
    beta = torch.empty_like(log_decay) if has_beta else None
    total = rows * n_heads
    gates_kernel[(triton.cdiv(total, 256),)](
        x, x.stride(0), log_rate, bias, log_decay, log_decay if beta is None else beta, n_heads, has_beta, total, 256
    )
    return log_decay, beta


@triton.jit
def gated_norm_kernel(x, gate, gate_stride, weight, out, n_heads, rows, width: tl.constexpr, block: tl.constexpr):
    row = (tl.program_id(0) * block + tl.arange(0, block)).to(tl.int64)
    column = tl.arange(0, width)
    inside = (row < rows)[:, None]
    at = row[:, None] * width + column[None, :]
    value = tl.load(x + at, inside, other=0.0).to(tl.float32)
    from_gate = gate + (row // n_heads)[:, None] * gate_stride + (row % n_heads)[:, None] * width + column[None, :]
    g = tl.load(from_gate, inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value, 1) / width + 1e-6)
    w = tl.load(weight + column).to(tl.float32)
    tl.store(out + at, (value * scale[:, None] * w[None, :] * g * tl.sigmoid(g)).to(tl.bfloat16), inside)


def gated_norm(x, gate, weight):
    """RMSNorm of each head of x [tokens, n_heads, width] times silu(gate), gate [tokens, n_heads width] at any
    stride."""
    tokens, n_heads, width = x.shape
    out = torch.empty_like(x)
    rows = tokens * n_heads
    grid = (triton.cdiv(rows, 8),)
    gated_norm_kernel[grid](x, gate, gate.stride(0), weight, out, n_heads, rows, width, 8, num_warps=4)
    return out


@triton.jit
def rotate_kernel(x, cosine_sine, positions, tokens, length, n_heads, half: tl.constexpr, heads_block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    token = row % tokens
    position = tl.load(positions + token // length) + token % length
    head = tl.program_id(1) * heads_block + tl.arange(0, heads_block)[:, None]
    lane = tl.arange(0, half)[None, :]
    inside = head < n_heads
    at = x + (row * n_heads + head) * 2 * half + lane
    left = tl.load(at, inside, other=0.0).to(tl.float32)
    right = tl.load(at + half, inside, other=0.0).to(tl.float32)
    cosine = tl.load(cosine_sine + (position * half + lane) * 2)
    sine = tl.load(cosine_sine + (position * half + lane) * 2 + 1)
    tl.store(at, (left * cosine - right * sine).to(tl.bfloat16), inside)
    tl.store(at + half, (right * cosine + left * sine).to(tl.bfloat16), inside)


def rotate(x, n_heads, cosine_sine, positions, length):
    """Rotary embedding in place of queries and keys x [2, tokens, n_heads head_dim]; cosine_sine [context, head_dim / 2,
    2]."""
    tokens = x.shape[1]
    grid = (2 * tokens, triton.cdiv(n_heads, 16))
    half = x.shape[2] // n_heads // 2
    rotate_kernel[grid](x, cosine_sine, positions, tokens, length, n_heads, half, 16, num_warps=4)
