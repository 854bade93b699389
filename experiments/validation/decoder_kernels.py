"""The small fused operations of a decoder, in Triton: one launch each, bf16 in and out, f32 inside."""

import torch
import triton
import triton.language as tl


@triton.jit
def add_rms_norm_kernel(update, residual, weight, out, width, has_update: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    columns = tl.arange(0, block)
    inside = columns < width
    x = tl.load(residual + row + columns, inside, other=0.0).to(tl.float32)
    if has_update:
        x += tl.load(update + row + columns, inside, other=0.0).to(tl.float32)
        tl.store(residual + row + columns, x.to(tl.bfloat16), inside)
    scale = tl.rsqrt(tl.sum(x * x, 0) / width + 1e-6)
    w = tl.load(weight + columns, inside, other=0.0).to(tl.float32)
    tl.store(out + row + columns, (x * scale * w).to(tl.bfloat16), inside)


def add_rms_norm(update, residual, weight):
    """residual += update (None: nothing), in place; returns RMSNorm(residual) * weight. [rows, width] each."""
    rows, width = residual.shape
    out = torch.empty_like(residual)
    block = triton.next_power_of_2(width)
    add_rms_norm_kernel[(rows,)](
        residual if update is None else update,
        residual,
        weight,
        out,
        width,
        update is not None,
        block,
        num_warps=8 if block >= 4096 else 4,
    )
    return out


@triton.jit
def rotary_cache_kernel(
    qkv,
    cosine_sine,
    positions,
    q_out,
    k_cache,
    v_cache,
    length,
    capacity,
    n_heads: tl.constexpr,
    n_kv_heads: tl.constexpr,
    half: tl.constexpr,
    heads_block: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    batch = token // length
    position = tl.load(positions + batch) + token % length
    head = tl.program_id(1) * heads_block + tl.arange(0, heads_block)[:, None]
    lane = tl.arange(0, half)[None, :]
    total: tl.constexpr = n_heads + 2 * n_kv_heads
    inside = (head < total) & (lane < half)
    source = qkv + (token * total + head) * 2 * half + lane
    left = tl.load(source, inside, other=0.0).to(tl.float32)
    right = tl.load(source + half, inside, other=0.0).to(tl.float32)
    cosine = tl.load(cosine_sine + (position * half + lane) * 2)
    sine = tl.load(cosine_sine + (position * half + lane) * 2 + 1)
    is_value = head >= n_heads + n_kv_heads
    rotated_left = tl.where(is_value, left, left * cosine - right * sine).to(tl.bfloat16)
    rotated_right = tl.where(is_value, right, right * cosine + left * sine).to(tl.bfloat16)
    is_query = inside & (head < n_heads)
    q_to = q_out + (token * n_heads + head) * 2 * half + lane
    tl.store(q_to, rotated_left, is_query)
    tl.store(q_to + half, rotated_right, is_query)
    row = (batch * capacity + position) * n_kv_heads
    is_key = inside & (head >= n_heads) & (head < n_heads + n_kv_heads)
    k_to = k_cache + (row + head - n_heads) * 2 * half + lane
    tl.store(k_to, rotated_left, is_key)
    tl.store(k_to + half, rotated_right, is_key)
    v_to = v_cache + (row + head - n_heads - n_kv_heads) * 2 * half + lane
    tl.store(v_to, rotated_left, inside & is_value)
    tl.store(v_to + half, rotated_right, inside & is_value)


def rotary_cache(qkv, cosine_sine, positions, k_cache, v_cache, n_heads):
    """Rotates queries and keys of qkv [batch, length, n_heads + 2 n_kv_heads, head_dim], writes keys and values into
    the caches [batch, capacity, n_kv_heads, head_dim] from each sequence's position on, returns the queries."""
    batch, length, total, head_dim = qkv.shape
    q_out = torch.empty(batch, length, n_heads, head_dim, dtype=qkv.dtype, device=qkv.device)
    heads_block = min(16, triton.next_power_of_2(total))
    grid = (batch * length, triton.cdiv(total, heads_block))
    rotary_cache_kernel[grid](
        qkv,
        cosine_sine,
        positions,
        q_out,
        k_cache,
        v_cache,
        length,
        k_cache.shape[1],
        n_heads,
        (total - n_heads) // 2,
        head_dim // 2,
        heads_block,
        num_warps=4,
    )
    return q_out


@triton.jit
def swiglu_kernel(gate_up, out, width, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    inside = columns < width
    gate = tl.load(gate_up + row * 2 * width + columns, inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + columns, inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + columns, (gate * tl.sigmoid(gate) * up).to(tl.bfloat16), inside)


def swiglu(gate_up):
    """silu(gate) * up of gate_up [rows, 2 width], the gate first."""
    rows, double = gate_up.shape
    width = double // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    block = 1024
    swiglu_kernel[(rows, triton.cdiv(width, block))](gate_up, out, width, block, num_warps=4)
    return out
