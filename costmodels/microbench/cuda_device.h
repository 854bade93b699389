#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace archfront::cuda {

/// Throws std::runtime_error saying what failed and why, unless `status` is success.
void check(cudaError_t status, std::string_view what);

/// What a calibration says of the device it was made on.
struct DeviceInfo {
  std::string name;  ///< the vendor's: "NVIDIA H200"
  int multiprocessors = 0;
  int compute_capability = 0;  ///< 90 for 9.0
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;
  std::size_t l2_bytes = 0;
  int driver_version = 0;   ///< newest CUDA the driver serves, 13000 for 13.0
  int runtime_version = 0;  ///< the CUDA this program was built with
};

/// Makes the first device current. Throws InputError without a device, for one older than compute capability 8.0, or
/// for a driver older than the runtime.
DeviceInfo open_device();

/// Device memory, uninitialised, given back at the end.
class Buffer {
 public:
  Buffer() = default;
  /// Throws InputError if the device has not that much free.
  explicit Buffer(std::size_t bytes);
  void* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* data) const;
  };
  std::unique_ptr<void, Free> data_;
  std::size_t bytes_ = 0;
};

class Stream {
 public:
  Stream();
  cudaStream_t get() const { return stream_.get(); }
  void synchronize() const;

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const;
  };
  std::unique_ptr<CUstream_st, Destroy> stream_;
};

class Event {
 public:
  Event();
  void record(const Stream& stream) const;
  /// Seconds from `start` to this event; both must have completed.
  double seconds_since(const Event& start) const;

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const;
  };
  std::unique_ptr<CUevent_st, Destroy> event_;
};

/// What `record` enqueued on the stream, captured once and ready to be replayed.
class Graph {
 public:
  Graph(const Stream& stream, const std::function<void(cudaStream_t)>& record);
  void launch(const Stream& stream) const;

 private:
  struct Destroy {
    void operator()(cudaGraphExec_t graph) const;
  };
  std::unique_ptr<CUgraphExec_st, Destroy> executable_;
};

}  // namespace archfront::cuda
