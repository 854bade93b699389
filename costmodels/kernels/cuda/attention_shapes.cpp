// What the attention kernels accept, checked before any launch.
#include <bit>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/decode_splits.h"
#include "costmodels/kernels/cuda/prefill_attention.h"

namespace archfront::cuda {
namespace {

void require_positive(const char* kernel, const char* field, int value) {
  if (value >= 1) return;
  throw InputError(std::string(field) + " = " + std::to_string(value) + " is out of range: " + kernel +
                   ": it must be at least 1");
}

void require_not_negative(const char* kernel, const char* field, int value) {
  if (value >= 0) return;
  throw InputError(std::string(field) + " = " + std::to_string(value) + " is out of range: " + kernel +
                   ": it must be 0 or more");
}

void require_heads(const char* kernel, int n_heads, int n_kv_heads, int head_dim) {
  require_positive(kernel, "n_heads", n_heads);
  require_positive(kernel, "n_kv_heads", n_kv_heads);
  if (n_heads % n_kv_heads != 0)
    throw InputError("n_heads = " + std::to_string(n_heads) + " is not a multiple of n_kv_heads = " +
                     std::to_string(n_kv_heads) + ": " + kernel + ": every key/value head serves as many query heads");
  if (head_dim != 64 && head_dim != 128 && head_dim != 256)
    throw InputError("head_dim = " + std::to_string(head_dim) + " is not compiled: " + kernel +
                     ": use one of 64, 128, 256");
}

void require_window(const char* kernel, int window, int sinks) {
  require_not_negative(kernel, "window", window);
  require_not_negative(kernel, "sinks", sinks);
  if (sinks > 0 && window == 0)
    throw InputError("sinks = " + std::to_string(sinks) + " without a window: " + kernel +
                     ": set window, or leave sinks at 0");
}

void require_pages(const char* kernel, const DecodeAttentionShape& shape) {
  const int size = shape.page_size;
  require_not_negative(kernel, "selected_pages", shape.selected_pages);
  if (size != 0 && (size < 16 || !std::has_single_bit(static_cast<unsigned>(size))))
    throw InputError("page_size = " + std::to_string(size) + " is out of range: " + kernel +
                     ": it must be 0 or a power of 2 from 16 on");
  if (shape.selected_pages == 0) return;
  if (size == 0 || shape.window > 0 || shape.query_length > 1)
    throw InputError("selected_pages = " + std::to_string(shape.selected_pages) + " is refused: " + kernel +
                     ": it needs a page_size, no window and a query_length of 1");
  if (shape.selected_pages > (shape.context + size - 1) / size)
    throw InputError("selected_pages = " + std::to_string(shape.selected_pages) + " is out of range: " + kernel +
                     ": the context has no more than " + std::to_string((shape.context + size - 1) / size) + " pages");
}

}  // namespace

void validate(const PrefillAttentionShape& shape) {
  const char* kernel = "prefill attention";
  require_positive(kernel, "batch", shape.batch);
  require_positive(kernel, "length", shape.length);
  require_heads(kernel, shape.n_heads, shape.n_kv_heads, shape.head_dim);
  require_window(kernel, shape.window, shape.sinks);
  if (shape.window > 0 && !shape.causal)
    throw InputError("window = " + std::to_string(shape.window) +
                     " without causal: prefill attention: a window looks back only, so set causal");
}

void validate(const DecodeAttentionShape& shape) {
  const char* kernel = "decode attention";
  require_positive(kernel, "batch", shape.batch);
  require_positive(kernel, "context", shape.context);
  require_heads(kernel, shape.n_heads, shape.n_kv_heads, shape.head_dim);
  require_window(kernel, shape.window, shape.sinks);
  require_not_negative(kernel, "n_splits", shape.n_splits);
  require_pages(kernel, shape);
  if (shape.query_length < 1 || shape.query_length > max_decode_queries || shape.query_length > shape.context)
    throw InputError("query_length = " + std::to_string(shape.query_length) + " is out of range: " + kernel +
                     ": it must be 1 to " + std::to_string(max_decode_queries) + " and at most context");
  if (shape.query_length > 1 && shape.window > 0)
    throw InputError("query_length = " + std::to_string(shape.query_length) + " with a window: " + kernel +
                     ": decode one token at a time, or leave the window at 0");
  if (shape.n_splits > max_decode_splits)
    throw InputError("n_splits = " + std::to_string(shape.n_splits) +
                     " is out of range: decode attention: it must be " + std::to_string(max_decode_splits) +
                     " or less");
}

}  // namespace archfront::cuda
