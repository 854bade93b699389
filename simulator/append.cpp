#include "simulator/append.h"

namespace archfront {

void append_unfused_norm(Operations& operations, double elements, const Step& step) {
  const double low = elements * bytes_per_element(step.precision);
  const double full = elements * bytes_per_element(Precision::f32);
  operations.push_back({"norm_upcast", 1, Elementwise{.read_bytes = low, .written_bytes = full, .flops = 0}});
  operations.push_back({"norm_square", 1, Elementwise{.read_bytes = full, .written_bytes = full, .flops = 0}});
  operations.push_back({"norm_mean", 1, Elementwise{.read_bytes = full, .written_bytes = 0, .flops = 0}});
  operations.push_back({"norm_scale", 1, Elementwise{.read_bytes = full, .written_bytes = full, .flops = 0}});
  operations.push_back({"norm_downcast", 1, Elementwise{.read_bytes = full, .written_bytes = low, .flops = 0}});
  operations.push_back({"norm_weight", 1, Elementwise{.read_bytes = low, .written_bytes = low, .flops = 0}});
}

void append_convolution(Operations& operations, double elements, double tail, const Step& step) {
  append_elementwise(operations, "convolution", elements + tail, elements + tail, step);
  if (step.engine == Engine::eager) append_elementwise(operations, "silu", elements, elements, step);
}

}  // namespace archfront
