#include "costmodels/kernels/cpu/gemm.h"

#include <fmt/format.h>
#include <omp.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <utility>
#include <vector>

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

/// What one thread computes: some rows of C for all columns, or all rows for some columns.
struct Part {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t first_row = 0;
  std::int64_t first_column = 0;
};

/// Rows are shared out where every thread gets enough of them to fill its registers' tiles, else columns.
std::vector<Part> parts_of(const Gemm& shape, std::int64_t threads) {
  constexpr std::int64_t fewest_rows = 64;
  constexpr std::int64_t column_step = 64;
  std::vector<Part> parts;
  if (shape.m >= threads * fewest_rows) {
    const std::int64_t each = (shape.m + threads - 1) / threads;
    for (std::int64_t first = 0; first < shape.m; first += each)
      parts.push_back({std::min(each, shape.m - first), shape.n, first, 0});
    return parts;
  }
  const std::int64_t steps = (shape.n + column_step - 1) / column_step;
  const std::int64_t each = (steps + threads - 1) / threads * column_step;
  for (std::int64_t first = 0; first < shape.n; first += each)
    parts.push_back({shape.m, std::min(each, shape.n - first), 0, first});
  return parts;
}

}  // namespace

struct PackedGemm::State {
  struct Piece {
    Part part;
    dnnl::matmul product;
    memory a, b, c;
    std::vector<std::byte> columns;  ///< of C, where they are not contiguous in it
  };

  Gemm shape;
  std::size_t element_bytes;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::vector<Piece> pieces;

  State(const Gemm& given, void* b_data)
      : shape(given), element_bytes(static_cast<std::size_t>(bytes_per_element(given.precision))) {
    omp_set_num_threads(1);  // each piece runs on the thread that takes it
    for (const Part& part : parts_of(shape, oneapi::tbb::this_task_arena::max_concurrency())) add(part, b_data);
  }

  void add(const Part& part, void* b_data) {
    const memory::data_type type = type_of(shape.precision);
    const memory::desc a_desc({part.rows, shape.k}, type, memory::format_tag::ab);
    const memory::desc c_desc({part.rows, part.columns}, type, memory::format_tag::ab);
    const memory::desc plain_desc({shape.k, part.columns}, type, memory::dims{shape.n, 1});
    const bool shares_weight = part.first_row > 0;  // row pieces multiply the same B
    const memory::desc b_desc = shares_weight ? pieces.front().b.get_desc()
                                              : memory::desc({shape.k, part.columns}, type, memory::format_tag::any);
    const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(a_desc, b_desc, c_desc), engine);
    Piece piece{.part = part,
                .product = dnnl::matmul(plan),
                .a = memory(a_desc, engine, nullptr),
                .b = shares_weight ? pieces.front().b : memory(plan.weights_desc(), engine),
                .c = memory(c_desc, engine, nullptr),
                .columns = {}};
    if (!shares_weight) {
      dnnl::stream stream(engine);
      memory plain(plain_desc, engine,
                   static_cast<std::byte*>(b_data) + static_cast<std::size_t>(part.first_column) * element_bytes);
      dnnl::reorder(plain, piece.b).execute(stream, plain, piece.b);
      stream.wait();
    }
    if (part.columns < shape.n && shape.m > 1)
      piece.columns.resize(static_cast<std::size_t>(part.rows * part.columns) * element_bytes);
    pieces.push_back(std::move(piece));
  }

  void run(void* a_data, void* c_data) {
    oneapi::tbb::parallel_for(std::size_t{0}, pieces.size(), [&](std::size_t i) {
      run_piece(pieces[i], static_cast<std::byte*>(a_data), static_cast<std::byte*>(c_data));
    });
  }

  void run_piece(Piece& piece, std::byte* a_data, std::byte* c_data) {
    omp_set_num_threads(1);  // a worker's own setting
    const Part& part = piece.part;
    const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(elements) * element_bytes; };
    std::byte* const c_first = c_data + bytes(part.first_row * shape.n + part.first_column);
    piece.a.set_data_handle(a_data + bytes(part.first_row * shape.k));
    piece.c.set_data_handle(piece.columns.empty() ? c_first : piece.columns.data());
    dnnl::stream stream(engine);
    piece.product.execute(stream, {{DNNL_ARG_SRC, piece.a}, {DNNL_ARG_WEIGHTS, piece.b}, {DNNL_ARG_DST, piece.c}});
    stream.wait();
    if (piece.columns.empty()) return;
    for (std::int64_t row = 0; row < part.rows; ++row)
      std::memcpy(c_first + bytes(row * shape.n), piece.columns.data() + bytes(row * part.columns),
                  bytes(part.columns));
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

std::string_view gemm_library() {
  static const std::string name = [] {
    const dnnl_version_t* version = dnnl::version();
    return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
  }();
  return name;
}

}  // namespace archfront::cpu
