"""Linear recurrences in Triton, one launch a stage, in the form most engines serve them: chunks of 64 tokens, the states
of all chunks and every intermediate through memory. Sources: Yang et al., arXiv:2412.06464, section 3.3 (gated delta
rule, its inverse by forward substitution), arXiv:2312.06635, section 4 (gates, chunks within chunks).

q, k [batch, length, n_heads, 128], v, o [batch, length, n_heads, value_dim], bf16; log_decay and beta [batch, length,
n_heads], log_decay of vector_gate [batch, length, n_heads, 128], f32.
"""

import torch
import triton
import triton.language as tl

CHUNK = tl.constexpr(64)
KEY = tl.constexpr(128)


@triton.jit
def gate_sums_kernel(gates, sums, length, n_heads: tl.constexpr, width: tl.constexpr, block: tl.constexpr):
    """Running sums of the gates within each chunk."""
    chunk, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    sequence = head // n_heads * length
    rows = chunk * CHUNK + tl.arange(0, CHUNK)
    columns = tl.program_id(2) * block + tl.arange(0, block)
    at = ((sequence + rows) * n_heads + head % n_heads)[:, None] * width + columns[None, :]
    inside = (rows < length)[:, None]
    tl.store(sums + at, tl.cumsum(tl.load(gates + at, inside, other=0.0), 0), inside)


@triton.jit
def unit_norm_kernel(x, out, rows):
    row = tl.program_id(0) * 16 + tl.arange(0, 16)
    at = row.to(tl.int64)[:, None] * KEY + tl.arange(0, KEY)[None, :]
    inside = (row < rows)[:, None]
    value = tl.load(x + at, inside, other=0.0).to(tl.float32)
    tl.store(out + at, (value * tl.rsqrt(tl.sum(value * value, 1) + 1e-6)[:, None]).to(tl.bfloat16), inside)


@triton.jit
def rows_of(base, first, length, n_heads, width: tl.constexpr, column, block: tl.constexpr):
    """A [CHUNK, block] tile of one head's rows; base points at the head's first row."""
    return tl.make_block_ptr(base, (length, width), (n_heads * width, 1), (first, column), (CHUNK, block), (1, 0))


@triton.jit
def tile_of(base, first, length, n_heads, width: tl.constexpr, column, block: tl.constexpr):
    return tl.load(
        rows_of(base, first, length, n_heads, width, column, block), boundary_check=(0,), padding_option="zero"
    )


@triton.jit
def gate_column(base, first, length, n_heads):
    return tl.load(
        tl.make_block_ptr(base, (length,), (n_heads,), (first,), (CHUNK,), (0,)),
        boundary_check=(0,),
        padding_option="zero",
    )


@triton.jit
def key_products_kernel(k, sums, beta, products, length, n_heads: tl.constexpr, gated: tl.constexpr):
    """A[i, j] = beta_i k_i.k_j exp(g_i - g_j) below the diagonal, f32."""
    first, index = tl.program_id(0) * CHUNK, tl.program_id(1).to(tl.int64)
    head = index // n_heads * length * n_heads + index % n_heads
    b = gate_column(beta + head, first, length, n_heads)
    a = tl.zeros((CHUNK, CHUNK), tl.float32)
    for column in tl.static_range(0, KEY, 64):
        tile = tile_of(k + head * KEY, first, length, n_heads, KEY, column, 64)
        a += tl.dot((tile * b[:, None]).to(tl.bfloat16), tl.trans(tile))
    row = tl.arange(0, CHUNK)
    if gated:
        g = gate_column(sums + head, first, length, n_heads)
        a *= tl.exp(tl.minimum(g[:, None] - g[None, :], 0.0))
    a = tl.where(row[:, None] > row[None, :], a, 0.0)
    tl.store(rows_of(products + head * CHUNK, first, length, n_heads, CHUNK, 0, CHUNK), a, boundary_check=(0,))


@triton.jit
def block_of(base, first, length, n_heads, row: tl.constexpr, column: tl.constexpr):
    """One 16 x 16 block of a chunk's square."""
    return tl.make_block_ptr(
        base, (length, CHUNK), (n_heads * CHUNK, 1), (first + 16 * row, 16 * column), (16, 16), (1, 0)
    )


@triton.jit
def load_block(base, first, length, n_heads, row: tl.constexpr, column: tl.constexpr):
    return tl.load(block_of(base, first, length, n_heads, row, column), boundary_check=(0,), padding_option="zero")


@triton.jit
def store_block(base, value, first, length, n_heads, row: tl.constexpr, column: tl.constexpr):
    to = block_of(base, first, length, n_heads, row, column)
    tl.store(to, value.to(tl.bfloat16), boundary_check=(0,))


@triton.jit
def small_inverse(base, first, length, n_heads, at: tl.constexpr):
    """(I + A)^-1 of a diagonal block by forward substitution."""
    row = tl.arange(0, 16)
    a = -load_block(base, first, length, n_heads, at, at)
    for i in range(2, tl.minimum(16, length - first - 16 * at)):
        line = -tl.load(base + (first + 16 * at + i) * n_heads * CHUNK + 16 * at + row)
        line = tl.where(row < i, line, 0.0)
        line += tl.sum(line[:, None] * a, 0)
        a = tl.where((row == i)[:, None], line[None, :], a)
    return a + (row[:, None] == row[None, :])


@triton.jit
def product(a, b):
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def inverse_kernel(products, inverse, length, n_heads: tl.constexpr):
    """(I + A)^-1 of each chunk, from the inverses of its four diagonal blocks."""
    first, index = tl.program_id(0) * CHUNK, tl.program_id(1).to(tl.int64)
    head = index // n_heads * length * n_heads + index % n_heads
    a = products + head * CHUNK
    t = inverse + head * CHUNK
    d0 = small_inverse(a, first, length, n_heads, 0)
    d1 = small_inverse(a, first, length, n_heads, 1)
    d2 = small_inverse(a, first, length, n_heads, 2)
    d3 = small_inverse(a, first, length, n_heads, 3)
    a10 = load_block(a, first, length, n_heads, 1, 0)
    a20 = load_block(a, first, length, n_heads, 2, 0)
    a21 = load_block(a, first, length, n_heads, 2, 1)
    a30 = load_block(a, first, length, n_heads, 3, 0)
    a31 = load_block(a, first, length, n_heads, 3, 1)
    a32 = load_block(a, first, length, n_heads, 3, 2)
    t10 = -product(product(d1, a10), d0)
    t21 = -product(product(d2, a21), d1)
    t32 = -product(product(d3, a32), d2)
    t20 = -product(d2, product(a20, d0) + product(a21, t10))
    t31 = -product(d3, product(a31, d1) + product(a32, t21))
    t30 = -product(d3, product(a30, d0) + product(a31, t10) + product(a32, t20))
    zero = tl.zeros((16, 16), tl.bfloat16)
    store_block(t, d0, first, length, n_heads, 0, 0)
    store_block(t, d1, first, length, n_heads, 1, 1)
    store_block(t, d2, first, length, n_heads, 2, 2)
    store_block(t, d3, first, length, n_heads, 3, 3)
    store_block(t, t10, first, length, n_heads, 1, 0)
    store_block(t, t20, first, length, n_heads, 2, 0)
    store_block(t, t21, first, length, n_heads, 2, 1)
    store_block(t, t30, first, length, n_heads, 3, 0)
    store_block(t, t31, first, length, n_heads, 3, 1)
    store_block(t, t32, first, length, n_heads, 3, 2)
    store_block(t, zero, first, length, n_heads, 0, 1)
    store_block(t, zero, first, length, n_heads, 0, 2)
    store_block(t, zero, first, length, n_heads, 0, 3)
    store_block(t, zero, first, length, n_heads, 1, 2)
    store_block(t, zero, first, length, n_heads, 1, 3)
    store_block(t, zero, first, length, n_heads, 2, 3)


@triton.jit
def solved_rows_kernel(
    k, v, sums, beta, inverse, w, u, length, n_heads: tl.constexpr, value: tl.constexpr, gated: tl.constexpr
):
    """w = T (beta exp(g) k), u = T (beta v)."""
    first, index = tl.program_id(0) * CHUNK, tl.program_id(1).to(tl.int64)
    head = index // n_heads * length * n_heads + index % n_heads
    t = tile_of(inverse + head * CHUNK, first, length, n_heads, CHUNK, 0, CHUNK)
    b = gate_column(beta + head, first, length, n_heads)
    for column in tl.static_range(0, value, 64):
        tile = tile_of(v + head * value, first, length, n_heads, value, column, 64)
        solved = tl.dot(t, (tile * b[:, None]).to(tl.bfloat16)).to(tl.bfloat16)
        tl.store(rows_of(u + head * value, first, length, n_heads, value, column, 64), solved, boundary_check=(0,))
    if gated:
        b *= tl.exp(gate_column(sums + head, first, length, n_heads))
    for column in tl.static_range(0, KEY, 64):
        tile = tile_of(k + head * KEY, first, length, n_heads, KEY, column, 64)
        solved = tl.dot(t, (tile * b[:, None]).to(tl.bfloat16)).to(tl.bfloat16)
        tl.store(rows_of(w + head * KEY, first, length, n_heads, KEY, column, 64), solved, boundary_check=(0,))


@triton.jit
def states_kernel(
    k,
    v,
    w,
    sums,
    states,
    new_values,
    final,
    length,
    n_heads: tl.constexpr,
    value: tl.constexpr,
    block: tl.constexpr,
    gate: tl.constexpr,
    delta: tl.constexpr,
):
    """Walks over the chunks of one head with `block` columns of its state; gate: 0 none, 1 scalar, 2 vector."""
    column, index = tl.program_id(0) * block, tl.program_id(1).to(tl.int64)
    head = index // n_heads * length * n_heads + index % n_heads
    n_chunks = tl.cdiv(length, CHUNK)
    low = tl.zeros((64, block), tl.float32)
    high = tl.zeros((64, block), tl.float32)
    for chunk in range(n_chunks):
        first = chunk * CHUNK
        state = states + (index // n_heads * n_chunks * n_heads + chunk * n_heads + index % n_heads) * KEY * value
        to_low = tl.make_block_ptr(state, (KEY, value), (value, 1), (0, column), (64, block), (1, 0))
        to_high = tl.make_block_ptr(state, (KEY, value), (value, 1), (64, column), (64, block), (1, 0))
        tl.store(to_low, low.to(tl.bfloat16))
        tl.store(to_high, high.to(tl.bfloat16))
        b_v = tile_of(v + head * value, first, length, n_heads, value, column, block)
        b_v = b_v.to(tl.float32)
        if delta:
            w_low = tile_of(w + head * KEY, first, length, n_heads, KEY, 0, 64)
            w_high = tile_of(w + head * KEY, first, length, n_heads, KEY, 64, 64)
            b_v -= tl.dot(w_low, low.to(tl.bfloat16)) + tl.dot(w_high, high.to(tl.bfloat16))
            to_v = rows_of(new_values + head * value, first, length, n_heads, value, column, block)
            tl.store(to_v, b_v.to(tl.bfloat16), boundary_check=(0,))
        last = tl.minimum(first + CHUNK, length) - 1
        k_low = tile_of(k + head * KEY, first, length, n_heads, KEY, 0, 64)
        k_high = tile_of(k + head * KEY, first, length, n_heads, KEY, 64, 64)
        if gate == 1:
            g_last = tl.load(sums + head + last * n_heads)
            g = gate_column(sums + head, first, length, n_heads)
            row = first + tl.arange(0, CHUNK)
            b_v *= tl.where(row < length, tl.exp(g_last - g), 0.0)[:, None]
            low *= tl.exp(g_last)
            high *= tl.exp(g_last)
        if gate == 2:
            lane = tl.arange(0, 64)
            g_low = tl.load(sums + (head + last * n_heads) * KEY + lane)
            g_high = tl.load(sums + (head + last * n_heads) * KEY + 64 + lane)
            s_low = tile_of(sums + head * KEY, first, length, n_heads, KEY, 0, 64)
            s_high = tile_of(sums + head * KEY, first, length, n_heads, KEY, 64, 64)
            k_low = (k_low * tl.exp(g_low[None, :] - s_low)).to(tl.bfloat16)
            k_high = (k_high * tl.exp(g_high[None, :] - s_high)).to(tl.bfloat16)
            low *= tl.exp(g_low)[:, None]
            high *= tl.exp(g_high)[:, None]
        b_v = b_v.to(tl.bfloat16)
        low += tl.dot(tl.trans(k_low), b_v)
        high += tl.dot(tl.trans(k_high), b_v)
    state = final + index * KEY * value
    tl.store(tl.make_block_ptr(state, (KEY, value), (value, 1), (0, column), (64, block), (1, 0)), low)
    tl.store(tl.make_block_ptr(state, (KEY, value), (value, 1), (64, column), (64, block), (1, 0)), high)


@triton.jit
def outputs_kernel(
    q,
    k,
    v,
    sums,
    scores,
    states,
    o,
    length,
    scale,
    n_heads: tl.constexpr,
    value: tl.constexpr,
    block: tl.constexpr,
    key_block: tl.constexpr,
    gate: tl.constexpr,
):
    """o = (exp(g) q) S + (q k^T, gated and causal) v; a vector gate's scores come from within_kernel."""
    column, chunk, index = tl.program_id(0) * block, tl.program_id(1), tl.program_id(2).to(tl.int64)
    first = chunk * CHUNK
    head = index // n_heads * length * n_heads + index % n_heads
    n_chunks = tl.cdiv(length, CHUNK)
    state = states + (index // n_heads * n_chunks * n_heads + chunk * n_heads + index % n_heads) * KEY * value
    out = tl.zeros((CHUNK, block), tl.float32)
    a = tl.zeros((CHUNK, CHUNK), tl.float32)
    for key in range(0, KEY, key_block):
        b_q = tile_of(q + head * KEY, first, length, n_heads, KEY, key, key_block)
        if gate == 2:
            g = tile_of(sums + head * KEY, first, length, n_heads, KEY, key, key_block)
            b_q = (b_q * tl.exp(g)).to(tl.bfloat16)
        else:
            b_k = tile_of(k + head * KEY, first, length, n_heads, KEY, key, key_block)
            a += tl.dot(b_q, tl.trans(b_k))
        s = tl.load(tl.make_block_ptr(state, (KEY, value), (value, 1), (key, column), (key_block, block), (1, 0)))
        out += tl.dot(b_q, s)
    row = tl.arange(0, CHUNK)
    if gate == 1:
        g = gate_column(sums + head, first, length, n_heads)
        out *= tl.exp(g)[:, None]
        a *= tl.exp(tl.minimum(g[:, None] - g[None, :], 0.0))
    if gate == 2:
        a = tile_of(scores + head * CHUNK, first, length, n_heads, CHUNK, 0, CHUNK)
    a = tl.where(row[:, None] >= row[None, :], a, 0.0).to(tl.bfloat16)
    b_v = tile_of(v + head * value, first, length, n_heads, value, column, block)
    out = (out + tl.dot(a, b_v)) * scale
    to = rows_of(o + head * value, first, length, n_heads, value, column, block)
    tl.store(to, out.to(tl.bfloat16), boundary_check=(0,))


@triton.jit
def within_kernel(q, k, sums, scores, length, n_heads: tl.constexpr):
    """Scores of a vector gate inside a chunk, a 16 x 64 strip a program: products relative to the strip's first row
    before it, key by key inside it."""
    chunk, strip, index = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    head = index // n_heads * length * n_heads + index % n_heads
    first = chunk * CHUNK
    start = first + strip * 16
    if start < length:
        lane = tl.arange(0, KEY)
        row = tl.arange(0, 16)
        stride = n_heads * KEY
        to = tl.make_block_ptr(
            scores + head * CHUNK, (length, CHUNK), (n_heads * CHUNK, 1), (start, 0), (16, CHUNK), (1, 0)
        )
        shape = (length, KEY)
        b_q = tl.load(
            tl.make_block_ptr(q + head * KEY, shape, (stride, 1), (start, 0), (16, KEY), (1, 0)),
            boundary_check=(0,),
            padding_option="zero",
        )
        g = tl.load(
            tl.make_block_ptr(sums + head * KEY, shape, (stride, 1), (start, 0), (16, KEY), (1, 0)),
            boundary_check=(0,),
            padding_option="zero",
        )
        origin = tl.load(sums + head * KEY + start * stride + lane)
        before = tile_of(k + head * KEY, first, length, n_heads, KEY, 0, KEY)
        s = tile_of(sums + head * KEY, first, length, n_heads, KEY, 0, KEY)
        from_origin = (b_q * tl.exp(g - origin[None, :])).to(tl.bfloat16)
        to_origin = (before * tl.exp(tl.minimum(origin[None, :] - s, 0.0))).to(tl.bfloat16)
        a = tl.dot(from_origin, tl.trans(to_origin))
        columns = tl.arange(0, CHUNK)
        a = tl.where((columns < strip * 16)[None, :], a, 0.0)
        for j in range(tl.minimum(16, length - start)):
            at = head * KEY + (start + j) * stride + lane
            b_k = tl.load(k + at).to(tl.float32)
            g_k = tl.load(sums + at)
            score = tl.sum(b_q * b_k[None, :] * tl.exp(tl.minimum(g - g_k[None, :], 0.0)), 1)
            a = tl.where((columns == strip * 16 + j)[None, :] & (row >= j)[:, None], score[:, None], a)
        tl.store(to, a.to(tl.bfloat16), boundary_check=(0,))


@triton.jit
def decode_kernel(
    q,
    k,
    v,
    log_decay,
    beta,
    state,
    o,
    scale,
    value: tl.constexpr,
    block: tl.constexpr,
    gate: tl.constexpr,
    delta: tl.constexpr,
):
    """One token; state [batch, n_heads, value_dim, 128] f32, in place."""
    head = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * block + tl.arange(0, block)
    lane = tl.arange(0, KEY)
    at = state + (head * value + rows)[:, None] * KEY + lane[None, :]
    s = tl.load(at)
    b_q = tl.load(q + head * KEY + lane).to(tl.float32)
    b_k = tl.load(k + head * KEY + lane).to(tl.float32)
    b_v = tl.load(v + head * value + rows).to(tl.float32)
    if delta:
        b_q *= tl.rsqrt(tl.sum(b_q * b_q) + 1e-6)
        b_k *= tl.rsqrt(tl.sum(b_k * b_k) + 1e-6)
    if gate == 1:
        s *= tl.exp(tl.load(log_decay + head))
    if gate == 2:
        s *= tl.exp(tl.load(log_decay + head * KEY + lane))[None, :]
    if delta:
        b_v = tl.load(beta + head) * (b_v - tl.sum(s * b_k[None, :], 1))
    s += b_v[:, None] * b_k[None, :]
    tl.store(at, s)
    tl.store(o + head * value + rows, (scale * tl.sum(s * b_q[None, :], 1)).to(tl.bfloat16))
