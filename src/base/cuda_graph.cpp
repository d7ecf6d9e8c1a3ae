#include "base/cuda_graph.h"

#include <map>
#include <mutex>
#include <shared_mutex>

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <torch/headeronly/version.h>

#include "base/side_stream.h"

namespace graft::base {

namespace {

/// Whoever makes a recording has it alone: until LibTorch 2.12 the device's generator, which every launch asks for its
/// seed, knows of one recording only.
std::shared_mutex recordings;
/// On which they are made, all of a device on the same one: memory is used again only on the stream that it was for.
std::map<c10::DeviceIndex, c10::Stream> streams;
thread_local bool recording_here = false;

class Recorded : public CudaGraph {
 public:
  at::cuda::CUDAGraph graph;
  void launch() override {
    std::shared_lock lock(recordings, std::defer_lock);
    if (!recording_here) lock.lock();
    graph.replay();
  }
};

/// Calls `work` on the stream for recordings.
template <class Work>
void alone(c10::Device device, const Work& work) {
  const std::lock_guard lock(recordings);
  auto stream = streams.find(device.index());
  if (stream == streams.end()) stream = streams.emplace(device.index(), new_stream(device)).first;
  recording_here = true;
  struct End {
    ~End() { recording_here = false; }
  } const end;
  on_stream(stream->second, work);
}

template <class Call>
bool succeeds(const Call& call) {
  try {
    call();
    return true;
  } catch (...) {
    return false;
  }
}

/// After a recording that could not be ended.
void clean_up([[maybe_unused]] c10::Device device, [[maybe_unused]] CudaGraph::Pool pool) {
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 13
  // These versions leave their allocators in the state of a recording, in which memory that other streams have used is
  // never free again, and the generator too, which a recording that ends puts right.
  succeeds([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device.index(), pool); });
  succeeds([&] { at::getHostAllocator(device.type())->end_allocate_to_pool(pool); });
  succeeds([&] { c10::cuda::CUDACachingAllocator::releasePool(device.index(), pool); });
  succeeds([&] { at::getHostAllocator(device.type())->release_pool(pool); });
  succeeds([&] {
    at::cuda::CUDAGraph other;
    other.capture_begin(at::cuda::graph_pool_handle(), cudaStreamCaptureModeThreadLocal);
    at::zeros({1}, at::TensorOptions(device));
    other.capture_end();
  });
#endif
}

}  // namespace

bool CudaGraph::available() { return true; }

CudaGraph::Pool CudaGraph::new_pool() { return at::cuda::graph_pool_handle(); }

void CudaGraph::rehearse(c10::Device device, const std::function<void()>& work) {
  if (recording_here) return work();
  alone(device, work);
}

std::unique_ptr<CudaGraph> CudaGraph::record(c10::Device device, Pool pool, const std::function<void()>& work) {
  if (recording_here) return nullptr;
  // As torch.cuda.graph does: what is kept for others is not given back during a recording, which may need as much.
  c10::getDeviceAllocator(device.type())->emptyCache();
  auto made = std::make_unique<Recorded>();
  bool fine = false;
  alone(device, [&] {
    // Other threads go on using the device meanwhile.
    fine = succeeds([&] { made->graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal); });
    if (!fine) return clean_up(device, pool);
    fine = succeeds(work);
    if (succeeds([&] { made->graph.capture_end(); })) return;
    fine = false;  // the work has spoilt it
    clean_up(device, pool);
  });
  return fine ? std::move(made) : nullptr;
}

}  // namespace graft::base
