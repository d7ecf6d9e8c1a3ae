/// Work on a CUDA device, recorded once and launched at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <c10/core/Device.h>

namespace graft::base {

/// Launching kernels one by one takes the processor longer than small ones take the device. What a recording's kernels
/// read and write stays where it is: it works on the same tensors each time.
class CudaGraph {
 public:
  /// False where Graft was built without CUDA's headers (GRAFT_WITH_CUDA): then record() gives nothing.
  static bool available();

  /// Memory that recordings share. Only where the results of one are no longer needed when another is launched.
  using Pool = std::pair<std::uint64_t, std::uint64_t>;
  static Pool new_pool();

  /// Calls `work` on the stream that it will be recorded on: libraries choose their kernels, and take their memory.
  static void rehearse(c10::Device device, const std::function<void()>& work);
  /// Calls `work`, whose launches do not happen yet. It must have run before. Null where it does what cannot be
  /// recorded, such as waiting for the device, or throws. Any thread; other threads' recordings and launches wait.
  static std::unique_ptr<CudaGraph> record(c10::Device device, Pool pool, const std::function<void()>& work);

  virtual ~CudaGraph() = default;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// On the current stream.
  virtual void launch() = 0;

 protected:
  CudaGraph() = default;
};

}  // namespace graft::base
