#include <algorithm>
#include <cmath>

#include "costmodels/table.h"

namespace archfront {

Operation operation_at(const TableFilter& filter, std::span<const Axis> axes, std::span<const double> at) {
  const auto value = [&](Coordinate coordinate, double absent) {
    for (std::size_t a = 0; a < axes.size(); ++a)
      if (axes[a].coordinate == coordinate) return at[a];
    return absent;
  };
  const auto integer = [&](Coordinate coordinate, double absent) {
    return static_cast<std::int64_t>(std::llround(value(coordinate, absent)));
  };
  const auto small = [&](Coordinate coordinate, double absent) {
    return static_cast<int>(integer(coordinate, absent));
  };
  const Precision precision = filter.precision.value_or(Precision::bf16);
  switch (filter.operation) {
    case OperationClass::gemm:
      return Gemm{integer(Coordinate::m, 1), integer(Coordinate::n, 1), integer(Coordinate::k, 1),
                  integer(Coordinate::groups, 1), precision};
    case OperationClass::attention_prefill:
    case OperationClass::attention_decode:
    case OperationClass::attention_backward: {
      Attention a;
      a.decode = filter.operation == OperationClass::attention_decode;
      a.backward = filter.operation == OperationClass::attention_backward;
      const int group = small(Coordinate::group, a.decode ? 1 : 4);
      // one sequence of all the heads: times depend on the product
      a.n_kv_heads = small(Coordinate::batch_kv_heads, std::max(1.0, value(Coordinate::batch_heads, group) / group));
      a.n_heads = a.decode ? a.n_kv_heads * group : small(Coordinate::batch_heads, group);
      a.head_dim = small(Coordinate::head_dim, 128);
      // the axis of a decode step is of the keys it reads
      const double kept = value(Coordinate::kept, 1);
      const double keys = value(Coordinate::context, value(Coordinate::query_length, 1));
      a.context = std::llround(a.decode ? keys / kept : keys);
      a.query_length = a.decode ? 1 : integer(Coordinate::query_length, static_cast<double>(a.context));
      if (filter.windowed.value_or(false)) a.window = integer(Coordinate::window, 0);
      a.sparsity = 1 - kept;
      a.block = a.sparsity > 0 ? small(Coordinate::block, a.decode ? 16 : 64) : 0;
      a.precision = precision;
      a.kv_precision = filter.kv_precision.value_or(precision);
      return a;
    }
    case OperationClass::scan_prefill:
    case OperationClass::scan_decode:
    case OperationClass::scan_backward: {
      Scan s;
      s.kind = filter.scan.value_or(ScanKind::gated_delta);
      s.decode = filter.operation == OperationClass::scan_decode;
      s.backward = filter.operation == OperationClass::scan_backward;
      s.n_heads = small(Coordinate::batch_heads, 1);
      s.key_dim = small(Coordinate::key_dim, 128);
      s.value_dim = small(Coordinate::value_dim, s.key_dim);
      s.length = s.decode ? 1 : integer(Coordinate::length, 1);
      s.precision = precision;
      return s;
    }
    case OperationClass::memory_prefill:
    case OperationClass::memory_decode:
    case OperationClass::memory_backward: {
      NeuralMemory m;
      m.decode = filter.operation == OperationClass::memory_decode;
      m.backward = filter.operation == OperationClass::memory_backward;
      m.n_heads = small(Coordinate::batch_heads, 1);
      m.key_dim = small(Coordinate::key_dim, 64);
      m.hidden = small(Coordinate::hidden, 4.0 * m.key_dim);
      m.depth = small(Coordinate::depth, 2);
      m.chunk = small(Coordinate::chunk, 64);
      m.length = m.decode ? 1 : integer(Coordinate::length, 1);
      m.precision = precision;
      return m;
    }
    case OperationClass::feedback_prefill:
    case OperationClass::feedback_decode:
    case OperationClass::feedback_backward: {
      FeedbackAttention a;
      a.decode = filter.operation == OperationClass::feedback_decode;
      a.backward = filter.operation == OperationClass::feedback_backward;
      const int group = small(Coordinate::group, 1);
      a.n_kv_heads = small(Coordinate::batch_kv_heads, std::max(1.0, value(Coordinate::batch_heads, 1) / group));
      a.n_heads = a.n_kv_heads * group;
      a.head_dim = small(Coordinate::head_dim, 128);
      a.block = small(Coordinate::block, 1024);
      a.segments = small(Coordinate::segments, 3);
      // the axis of a decode step is of the keys it reads, feedback tokens among them
      a.context = integer(Coordinate::context, 1);
      if (a.decode) a.context = std::max<std::int64_t>(1, a.context - a.feedback);
      a.query_length = a.decode ? 1 : a.context;
      a.precision = a.kv_precision = precision;
      return a;
    }
    case OperationClass::embedding:
      return Embedding{integer(Coordinate::tokens, 1), 4096, precision};
    case OperationClass::elementwise:
      return Elementwise{value(Coordinate::bytes, 1) / 2, value(Coordinate::bytes, 1) / 2, 0};
    case OperationClass::collective:
      break;
  }
  return Collective{filter.collective.value_or(CollectiveKind::all_reduce), value(Coordinate::bytes, 1),
                    small(Coordinate::devices, 2)};
}

}  // namespace archfront
