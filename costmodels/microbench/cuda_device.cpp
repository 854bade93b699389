#include "costmodels/microbench/cuda_device.h"

#include <fmt/format.h>

#include <stdexcept>

#include "costmodels/errors.h"

namespace archfront::cuda {
namespace {

/// "13.0" from 13000.
std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

/// cudaDeviceGetAttribute, which unlike the property struct keeps its layout between CUDA versions.
int attribute(cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, 0), "reading a device attribute");
  return value;
}

}  // namespace

void check(cudaError_t status, std::string_view what) {
  if (status != cudaSuccess) throw std::runtime_error(fmt::format("{}: CUDA: {}", what, cudaGetErrorString(status)));
}

DeviceInfo open_device() {
  DeviceInfo info;
  check(cudaRuntimeGetVersion(&info.runtime_version), "asking for the CUDA runtime's version");
  if (cudaDriverGetVersion(&info.driver_version) != cudaSuccess || info.driver_version == 0)
    throw InputError(
        "no NVIDIA driver: --device cuda: run on a machine with a GPU and its driver, or use --device cpu");
  if (info.driver_version / 1000 < info.runtime_version / 1000)
    throw InputError(
        fmt::format("the driver serves CUDA {} at most: --device cuda: this program needs {} or newer; "
                    "update the driver",
                    version(info.driver_version), version(info.runtime_version)));
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0)
    throw InputError(fmt::format("no GPU ({}): --device cuda: run on a machine with an NVIDIA GPU, or use --device cpu",
                                 status == cudaSuccess ? "none is visible" : cudaGetErrorString(status)));
  check(cudaSetDevice(0), "choosing the first GPU");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "reading the GPU's properties");
  info.name = properties.name;
  info.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  info.compute_capability =
      10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
  info.l2_bytes = static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize));
  if (info.compute_capability < 80)
    throw InputError(fmt::format("{} has compute capability {}.{}: --device cuda: use a GPU of 8.0 or later (A100 on)",
                                 info.name, info.compute_capability / 10, info.compute_capability % 10));
  check(cudaMemGetInfo(&info.free_bytes, &info.memory_bytes), "reading the GPU's memory");
  return info;
}

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // the failure is reported here; later calls should not see it
    throw InputError(
        fmt::format("the GPU has not {:.1f} GB free: allocating a benchmark's tensors: end other programs "
                    "on it",
                    static_cast<double>(bytes) * 1e-9));
  }
  check(status, "allocating device memory");
  data_.reset(data);
}

void Buffer::Free::operator()(void* data) const { static_cast<void>(cudaFree(data)); }

Stream::Stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  stream_.reset(stream);
}

void Stream::synchronize() const { check(cudaStreamSynchronize(stream_.get()), "running a benchmark"); }

void Stream::Destroy::operator()(cudaStream_t stream) const { static_cast<void>(cudaStreamDestroy(stream)); }

Event::Event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "making an event");
  event_.reset(event);
}

void Event::record(const Stream& stream) const {
  check(cudaEventRecord(event_.get(), stream.get()), "recording an event");
}

double Event::seconds_since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.event_.get(), event_.get()), "reading an event");
  return static_cast<double>(milliseconds) * 1e-3;
}

void Event::Destroy::operator()(cudaEvent_t event) const { static_cast<void>(cudaEventDestroy(event)); }

namespace {

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { static_cast<void>(cudaGraphDestroy(graph)); }
};

}  // namespace

Graph::Graph(const Stream& stream, const std::function<void(cudaStream_t)>& record) {
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "capturing a graph");
  cudaGraph_t graph = nullptr;
  try {
    record(stream.get());
  } catch (...) {
    // Ends the capture, so that the stream can be used again; the first failure is the one to tell.
    if (cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());
    throw;
  }
  check(cudaStreamEndCapture(stream.get(), &graph), "capturing a graph");
  const std::unique_ptr<CUgraph_st, DestroyGraph> owned(graph);
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0), "making a graph executable");
  executable_.reset(executable);
  check(cudaGraphUpload(executable, stream.get()), "sending a graph to the GPU");
}

void Graph::launch(const Stream& stream) const {
  check(cudaGraphLaunch(executable_.get(), stream.get()), "launching a graph");
}

void Graph::Destroy::operator()(cudaGraphExec_t graph) const { static_cast<void>(cudaGraphExecDestroy(graph)); }

}  // namespace archfront::cuda
