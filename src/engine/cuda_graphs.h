/// A function on CUDA, recorded once and replayed.
#pragma once

#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

namespace graft::engine {

/// Launching a network's kernels one by one takes the processor longer than small batches take the device; a recorded
/// CUDA graph is launched at once. A recording holds for one size of input, and keeps its memory: the last few sizes
/// that come again are recorded (base/cuda_graph.h). Where
/// nothing can be recorded the function is called.
class CudaGraphs {
 public:
  using Function = std::function<at::Tensor(const at::Tensor&)>;

  /// `function` maps one tensor on the current CUDA device to one, launches work on the current stream, never waits for
  /// it, and gives the same for the same. It is given inputs of `type`, in the layout that run() is given them.
  CudaGraphs(at::ScalarType type, Function function);
  ~CudaGraphs();
  CudaGraphs(const CudaGraphs&) = delete;
  CudaGraphs& operator=(const CudaGraphs&) = delete;

  /// The function of `input`, on the current stream. From many threads at once.
  at::Tensor run(const at::Tensor& input) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::engine
