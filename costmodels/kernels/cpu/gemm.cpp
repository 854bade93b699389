#include "costmodels/kernels/cpu/gemm.h"

#include <fmt/format.h>
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "costmodels/errors.h"

namespace archfront::cpu {

namespace {

using dnnl::memory;

memory::data_type type_of(Precision precision) {
  return precision == Precision::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

void check_shape(const Gemm& shape, Precision operand) {
  if (shape.precision != operand) {
    throw InputError(fmt::format("precision {} with {} operands: gemm: give operands of the shape's precision",
                                 to_string(shape.precision), to_string(operand)));
  }
  if (shape.groups != 1) throw InputError(fmt::format("groups = {}: gemm: run one product a group", shape.groups));
  if (shape.m < 1 || shape.n < 1 || shape.k < 1) {
    throw InputError(fmt::format("extents {} x {} x {}: gemm: use 1 or more each", shape.m, shape.n, shape.k));
  }
}

void check_size(const char* name, std::size_t given, std::int64_t rows, std::int64_t columns) {
  if (given == static_cast<std::size_t>(rows * columns)) return;
  throw InputError(fmt::format("{} holds {} elements: gemm: its shape needs {} x {}", name, given, rows, columns));
}

// oneDNN takes operands it only reads as pointers to mutable data.
template <class T>
void* handle_of(std::span<const T> data) {
  return const_cast<T*>(data.data());
}

}  // namespace

struct PackedGemm::State {
  Gemm shape;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  memory a, b, c;

  State(const Gemm& given, void* b_data) : shape(given) {
    const memory::data_type type = type_of(shape.precision);
    const memory::desc a_desc({shape.m, shape.k}, type, memory::format_tag::ab);
    const memory::desc b_desc({shape.k, shape.n}, type, memory::format_tag::ab);
    const memory::desc b_any({shape.k, shape.n}, type, memory::format_tag::any);
    const memory::desc c_desc({shape.m, shape.n}, type, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(a_desc, b_any, c_desc), engine);
    product = dnnl::matmul(plan);
    a = memory(a_desc, engine, nullptr);
    c = memory(c_desc, engine, nullptr);
    b = memory(plan.weights_desc(), engine);
    memory plain(b_desc, engine, b_data);
    dnnl::reorder(plain, b).execute(stream, plain, b);
    stream.wait();
  }

  void run(void* a_data, void* c_data) {
    a.set_data_handle(a_data);
    c.set_data_handle(c_data);
    product.execute(stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
    stream.wait();
  }

  template <class T>
  void run_checked(std::span<const T> a_data, std::span<T> c_data, Precision precision) {
    check_shape(shape, precision);
    check_size("a", a_data.size(), shape.m, shape.k);
    check_size("c", c_data.size(), shape.m, shape.n);
    run(handle_of(a_data), c_data.data());
  }
};

PackedGemm::PackedGemm(const Gemm& shape, std::span<const float> b) {
  check_shape(shape, Precision::f32);
  check_size("b", b.size(), shape.k, shape.n);
  state_ = std::make_unique<State>(shape, handle_of(b));
}

PackedGemm::PackedGemm(const Gemm& shape, std::span<const Bf16> b) {
  check_shape(shape, Precision::bf16);
  check_size("b", b.size(), shape.k, shape.n);
  state_ = std::make_unique<State>(shape, handle_of(b));
}

PackedGemm::PackedGemm(PackedGemm&&) noexcept = default;
PackedGemm& PackedGemm::operator=(PackedGemm&&) noexcept = default;
PackedGemm::~PackedGemm() = default;

void PackedGemm::run(std::span<const float> a, std::span<float> c) { state_->run_checked(a, c, Precision::f32); }
void PackedGemm::run(std::span<const Bf16> a, std::span<Bf16> c) { state_->run_checked(a, c, Precision::bf16); }

void set_gemm_threads(int threads) { omp_set_num_threads(threads); }

std::string_view gemm_library() {
  static const std::string name = [] {
    const dnnl_version_t* version = dnnl::version();
    return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
  }();
  return name;
}

}  // namespace archfront::cpu
