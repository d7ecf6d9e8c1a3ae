#include "base/cuda_graph.h"

#include <ATen/cuda/CUDAGraph.h>

#include "base/side_stream.h"

namespace graft::base {

namespace {

class Recorded : public CudaGraph {
 public:
  at::cuda::CUDAGraph graph;
  void launch() override { graph.replay(); }
};

}  // namespace

bool CudaGraph::available() { return true; }

CudaGraph::Pool CudaGraph::new_pool() { return at::cuda::graph_pool_handle(); }

std::unique_ptr<CudaGraph> CudaGraph::record(c10::Device device, Pool pool, const std::function<void()>& work) {
  auto made = std::make_unique<Recorded>();
  bool fine = true;
  on_side_stream(device, [&] {
    // Other threads go on using the device meanwhile.
    made->graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      fine = false;
    }
    try {
      made->graph.capture_end();
    } catch (...) {  // also where the work has spoilt the recording
      fine = false;
    }
  });
  return fine ? std::move(made) : nullptr;
}

}  // namespace graft::base
