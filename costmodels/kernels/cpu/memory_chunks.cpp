// A neural memory, a small MLP whose weights are the state, by chunks of tokens and token by token.
// Shapes     q, k, v, o [length, dim] of one head; W_l and its momentum S_l [in, out] in f32; one task a head
// FLOPs      a token: 2 W to run the keys (W weights in all), 2 W for the queries, 2 (W - W_1) to pass gradients back,
//            4 W for two weighted sums of gradients; and 5 W a chunk for decay, momentum and step. A chunk of one token
//            sums nothing: 2 W less
// Bytes      prefill: q, k, v, o once. Decode: weights and momentum read and written, 16 W
// Floor      prefill: the FMA ports; decode: memory
// Plan       in a chunk all gradients are taken at its first weights, so weights and momentum at its end are linear in
//            them: with h_i, b_i the products of eta, 1 - alpha over the tokens after i, and r_i = b_i + eta_{i+1}
//            r_{i+1},
//              S = h_0 S_0 - sum_i theta_i h_i grad_i,   M = b_0 M_0 + eta_1 r_1 S_0 - sum_i theta_i r_i grad_i
//            and each sum is one product X^T (weights G) a matrix. Decode reads a matrix twice: for the forward pass of
//            key and query together, and from the last to the first for gradient, momentum and step in one go
// Tile       key_dim 64, hidden 256, chunk 64: weights and momentum 256 KiB, activations 500 KiB, in L2
#include <algorithm>
#include <utility>

#include "costmodels/kernels/cpu/memory_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "costmodels/kernels/cpu/memory_chunks.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "costmodels/kernels/cpu/scan_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {
namespace {

// Floats past the end of a row: without them rows are powers of two apart and fall into few sets of the caches.
constexpr std::size_t row_padding = 16;

std::size_t padded_rows(std::size_t tokens) { return (tokens + tile_rows - 1) / tile_rows * tile_rows; }

// One matrix with its momentum, and what passed through it in this chunk. Every row is vector aligned.
struct MemoryLayer {
  std::size_t in, out;
  std::size_t in_row, out_row;
  float* weights;   // [in, out]
  float* momentum;  // [in, out]
  float* x;         // [chunk, in], what the keys brought
  float* sigmoid;   // [chunk, out] of their product with the weights; none behind the last matrix
};

struct MemoryChunk {
  MemoryLayer layers[most_memory_layers];
  std::size_t rows;       // padded with tokens that change nothing
  float* queries[2];      // [chunk, widest], before and after a matrix
  float* gradient[2];     // [chunk, widest], behind and before a matrix
  float* for_weights;     // [chunk, widest], the gradient times theta_i r_i
  float* for_momentum;    // [chunk, widest], times theta_i h_i
  float* transposed;      // [widest, widest] of a matrix
  float* weights_scale;   // [chunk]
  float* momentum_scale;  // [chunk]
  float weights_kept;     // b_0
  float momentum_kept;    // h_0
  float momentum_added;   // eta_1 r_1
};

// a C + b C', with C' `offset` floats from C.
struct FromPair {
  float a;
  float b;
  std::ptrdiff_t offset;
  HWY_INLINE V operator()(F32 d, const float* c, std::size_t) const {
    return hn::MulAdd(hn::Set(d, a), hn::Load(d, c), hn::Mul(hn::Set(d, b), hn::Load(d, c + offset)));
  }
};

struct FromMultiple {
  float a;
  HWY_INLINE V operator()(F32 d, const float* c, std::size_t) const { return hn::Mul(hn::Set(d, a), hn::Load(d, c)); }
};

template <class T>
void read_rows(const MemoryHead<T>& head, const T* from, std::size_t count, std::size_t rows, float* to,
               std::size_t to_row) {
  const F32 d;
  for (std::size_t t = 0; t < rows; ++t) {
    for (std::size_t x = 0; x < head.key_dim; x += hn::Lanes(d)) {
      hn::Store(t < count ? load_f32(d, from + t * head.token_row + x) : hn::Zero(d), d, to + t * to_row + x);
    }
  }
}

// The chunk's coefficients in double; those of padding are 0.
template <class T>
void read_rates(const MemoryHead<T>& head, std::size_t first, std::size_t count, MemoryChunk& c) {
  double momentum = 1;
  double kept = 1;
  double reach = 1;  // r_i
  std::fill_n(c.weights_scale, c.rows, 0.0f);
  std::fill_n(c.momentum_scale, c.rows, 0.0f);
  for (std::size_t t = count; t-- > 0;) {
    const std::size_t at = (first + t) * head.rate_row;
    const auto theta = static_cast<double>(head.theta[at]);
    const auto eta = static_cast<double>(head.eta[at]);
    c.momentum_scale[t] = static_cast<float>(theta * momentum);
    c.weights_scale[t] = static_cast<float>(theta * reach);
    momentum *= eta;
    kept *= 1 - static_cast<double>(head.alpha[at]);
    c.momentum_added = static_cast<float>(eta * reach);
    reach = kept + eta * reach;
  }
  c.weights_kept = static_cast<float>(kept);
  c.momentum_kept = static_cast<float>(momentum);
}

// out = x W.
void multiply(const MemoryLayer& layer, const float* x, std::size_t rows, float* out) {
  for (std::size_t t = 0; t < rows; t += tile_rows) {
    multiply_rows(FromZero(), x + t * layer.in_row, layer.in_row, 1, layer.weights, layer.out_row, layer.in,
                  out + t * layer.out_row, layer.out_row, layer.out);
  }
}

// Runs the keys, and leaves 2 (M(k) - v), the gradient of the loss by M(k), in gradient[0].
template <class T>
void run_keys(const MemoryHead<T>& head, std::size_t first, std::size_t count, MemoryChunk& c) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  read_rows(head, head.k + first * head.token_row, count, c.rows, c.layers[0].x, c.layers[0].in_row);
  for (std::size_t l = 0; l + 1 < head.depth; ++l) {
    const MemoryLayer& layer = c.layers[l];
    float* next = c.layers[l + 1].x;
    multiply(layer, layer.x, c.rows, next);
    for (std::size_t t = 0; t < c.rows; ++t) {
      for (std::size_t at = t * layer.out_row; at < t * layer.out_row + layer.out; at += lanes) {
        const V z = hn::Load(d, next + at);
        const V sigmoid = sigmoid_of(d, z);
        hn::Store(sigmoid, d, layer.sigmoid + at);
        hn::Store(hn::Mul(z, sigmoid), d, next + at);
      }
    }
  }
  const MemoryLayer& last = c.layers[head.depth - 1];
  multiply(last, last.x, c.rows, c.gradient[0]);
  for (std::size_t t = 0; t < c.rows; ++t) {
    for (std::size_t x = 0; x < head.key_dim; x += lanes) {
      float* at = c.gradient[0] + t * last.out_row + x;
      if (t < count) {
        const V error = hn::Sub(hn::Load(d, at), load_f32(d, head.v + (first + t) * head.token_row + x));
        hn::Store(hn::Add(error, error), d, at);
      } else {
        hn::Store(hn::Zero(d), d, at);
      }
    }
  }
}

template <class T>
void run_queries(const MemoryHead<T>& head, std::size_t first, std::size_t count, MemoryChunk& c) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  read_rows(head, head.q + first * head.token_row, count, c.rows, c.queries[0], c.layers[0].in_row);
  for (std::size_t l = 0; l < head.depth; ++l) {
    const MemoryLayer& layer = c.layers[l];
    multiply(layer, c.queries[0], c.rows, c.queries[1]);
    std::swap(c.queries[0], c.queries[1]);
    if (l + 1 == head.depth) break;
    for (std::size_t t = 0; t < count; ++t) {
      for (std::size_t at = t * layer.out_row; at < t * layer.out_row + layer.out; at += lanes) {
        const V z = hn::Load(d, c.queries[0] + at);
        hn::Store(hn::Mul(z, sigmoid_of(d, z)), d, c.queries[0] + at);
      }
    }
  }
  const std::size_t row = c.layers[head.depth - 1].out_row;
  for (std::size_t t = 0; t < count; ++t) {
    T* to = head.o + (first + t) * head.token_row;
    for (std::size_t x = 0; x < head.key_dim; x += lanes) {
      store_from_f32(d, hn::Load(d, c.queries[0] + t * row + x), to + x);
    }
  }
}

// Passes gradient[0] back through a matrix and the SiLU before it, into gradient[1].
void pass_back(const MemoryLayer& layer, const MemoryLayer& before, MemoryChunk& c) {
  const F32 d;
  transpose(layer.weights, layer.out_row, layer.in, layer.out, c.transposed, layer.in_row);
  for (std::size_t t = 0; t < c.rows; t += tile_rows) {
    multiply_rows(FromZero(), c.gradient[0] + t * layer.out_row, layer.out_row, 1, c.transposed, layer.in_row,
                  layer.out, c.gradient[1] + t * layer.in_row, layer.in_row, layer.in);
  }
  for (std::size_t t = 0; t < c.rows; ++t) {
    for (std::size_t at = t * layer.in_row; at < t * layer.in_row + layer.in; at += hn::Lanes(d)) {
      const V slope = silu_slope(d, hn::Load(d, layer.x + at), hn::Load(d, before.sigmoid + at));
      hn::Store(hn::Mul(slope, hn::Load(d, c.gradient[1] + at)), d, c.gradient[1] + at);
    }
  }
}

// Moves a matrix and its momentum by the chunk's gradients.
void move_weights(const MemoryLayer& layer, const MemoryChunk& c) {
  const F32 d;
  for (std::size_t t = 0; t < c.rows; ++t) {
    const V for_weights = hn::Set(d, c.weights_scale[t]);
    const V for_momentum = hn::Set(d, c.momentum_scale[t]);
    for (std::size_t at = t * layer.out_row; at < t * layer.out_row + layer.out; at += hn::Lanes(d)) {
      const V gradient = hn::Load(d, c.gradient[0] + at);
      hn::Store(hn::Mul(for_weights, gradient), d, c.for_weights + at);
      hn::Store(hn::Mul(for_momentum, gradient), d, c.for_momentum + at);
    }
  }
  const FromPair weights_start{c.weights_kept, c.momentum_added, layer.momentum - layer.weights};
  const FromMultiple momentum_start{c.momentum_kept};
  for (std::size_t i = 0; i < layer.in; i += tile_rows) {
    const std::size_t at = i * layer.out_row;
    multiply_rows<true>(weights_start, layer.x + i, 1, layer.in_row, c.for_weights, layer.out_row, c.rows,
                        layer.weights + at, layer.out_row, layer.out);
    multiply_rows<true>(momentum_start, layer.x + i, 1, layer.in_row, c.for_momentum, layer.out_row, c.rows,
                        layer.momentum + at, layer.out_row, layer.out);
  }
}

template <class T>
void run_tokens(const MemoryHead<T>& head, std::size_t first, std::size_t count, MemoryChunk& c) {
  c.rows = padded_rows(count);
  read_rates(head, first, count, c);
  run_queries(head, first, count, c);
  run_keys(head, first, count, c);
  for (std::size_t l = head.depth; l-- > 0;) {
    if (l > 0) pass_back(c.layers[l], c.layers[l - 1], c);
    move_weights(c.layers[l], c);
    std::swap(c.gradient[0], c.gradient[1]);
  }
}

// Copies the state into padded rows, or back.
template <class T>
void copy_state(const MemoryHead<T>& head, const MemoryChunk& c, bool back) {
  std::size_t at = 0;
  for (std::size_t l = 0; l < head.depth; ++l) {
    const MemoryLayer& layer = c.layers[l];
    for (std::size_t i = 0; i < layer.in; ++i, at += layer.out) {
      float* padded[2] = {layer.weights + i * layer.out_row, layer.momentum + i * layer.out_row};
      float* given[2] = {head.weights + at, head.momentum + at};
      for (std::size_t m = 0; m < 2; ++m) {
        back ? std::copy_n(padded[m], layer.out, given[m]) : std::copy_n(given[m], layer.out, padded[m]);
      }
    }
  }
}

template <class T>
void run_head(const MemoryHead<T>& head, float* scratch) {
  MemoryChunk c{};
  const auto take = [&scratch](std::size_t floats) { return std::exchange(scratch, scratch + floats); };
  const std::size_t rows = padded_rows(head.chunk);
  const std::size_t widest = (head.depth == 1 ? head.key_dim : std::max(head.key_dim, head.hidden)) + row_padding;
  for (std::size_t l = 0; l < head.depth; ++l) {
    MemoryLayer& layer = c.layers[l];
    layer.in = head.inputs(l);
    layer.out = head.outputs(l);
    layer.in_row = layer.in + row_padding;
    layer.out_row = layer.out + row_padding;
    layer.weights = take(layer.in * layer.out_row);
    layer.momentum = take(layer.in * layer.out_row);
    layer.x = take(rows * layer.in_row);
    layer.sigmoid = take(rows * layer.out_row);
  }
  for (float** buffer :
       {&c.queries[0], &c.queries[1], &c.gradient[0], &c.gradient[1], &c.for_weights, &c.for_momentum}) {
    *buffer = take(rows * widest);
  }
  c.transposed = take(widest * widest);
  for (float** scale : {&c.weights_scale, &c.momentum_scale}) *scale = take((rows + 15) / 16 * 16);
  copy_state(head, c, false);
  for (std::size_t first = 0; first < head.length; first += head.chunk) {
    run_tokens(head, first, std::min(head.chunk, head.length - first), c);
  }
  copy_state(head, c, true);
}

std::size_t head_floats(std::size_t key_dim, std::size_t hidden, std::size_t depth, std::size_t chunk) {
  const std::size_t widest = (depth == 1 ? key_dim : std::max(key_dim, hidden)) + row_padding;
  const std::size_t rows = padded_rows(chunk);
  return depth * 2 * widest * (widest + rows) + 6 * rows * widest + widest * widest + 2 * (rows + 16);
}

void memory_chunks_f32(const MemoryHead<float>& head, float* scratch) { run_head(head, scratch); }
void memory_chunks_bf16(const MemoryHead<Bf16>& head, float* scratch) { run_head(head, scratch); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace archfront::cpu {

HWY_EXPORT(head_floats);
HWY_EXPORT(memory_chunks_f32);
HWY_EXPORT(memory_chunks_bf16);

std::size_t memory_scratch(std::size_t key_dim, std::size_t hidden, std::size_t depth, std::size_t chunk) {
  return HWY_DYNAMIC_DISPATCH(head_floats)(key_dim, hidden, depth, chunk);
}
void memory_chunks(const MemoryHead<float>& head, float* scratch) {
  HWY_DYNAMIC_DISPATCH(memory_chunks_f32)(head, scratch);
}
void memory_chunks(const MemoryHead<Bf16>& head, float* scratch) {
  HWY_DYNAMIC_DISPATCH(memory_chunks_bf16)(head, scratch);
}

}  // namespace archfront::cpu
#endif
