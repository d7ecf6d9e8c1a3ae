#include "engine/cuda_graphs.h"

#include <algorithm>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "base/cuda_graph.h"
#include "base/side_stream.h"

namespace graft::engine {

namespace {

/// Sizes that are recorded at the same time: those of whole and last batches in training and validation, and some.
constexpr std::size_t kRecordings = 8;

struct Layout {
  std::vector<std::int64_t> sizes, strides;
  bool operator==(const Layout&) const = default;
};

struct Recording {
  Layout layout;
  at::Tensor input, output;  ///< the graph's own
  std::unique_ptr<base::CudaGraph> graph;
};

}  // namespace

struct CudaGraphs::Impl {
  Impl(at::ScalarType input_type, Function what) : type(input_type), function(std::move(what)) {}

  at::ScalarType type;
  Function function;

  std::mutex mutex;                 ///< of all that follows, also while work is launched: recordings share memory
  std::list<Recording> recordings;  ///< the last used first
  std::list<Layout> seen;           ///< inputs that came once; the last first
  std::optional<base::CudaGraph::Pool> pool = {};
  std::optional<c10::Event> done = {};           ///< when the last replay has ended
  bool possible = base::CudaGraph::available();  ///< until it turns out that the function is not

  Recording* find(const Layout& layout) {
    const auto found = std::ranges::find(recordings, layout, &Recording::layout);
    if (found == recordings.end()) return nullptr;
    recordings.splice(recordings.begin(), recordings, found);
    return &recordings.front();
  }

  /// The first call of a size is not worth a recording.
  bool came_before(const Layout& layout) {
    if (std::erase(seen, layout) > 0) return true;
    seen.push_front(layout);
    if (seen.size() > kRecordings) seen.pop_back();
    return false;
  }

  Recording* record(const Layout& layout, const at::Tensor& input) {
    if (recordings.size() == kRecordings) recordings.pop_back();
    if (!pool) pool = base::CudaGraph::new_pool();
    Recording made{layout, input.to(type, /*non_blocking=*/true, /*copy=*/true), {}, {}};
    base::CudaGraph::rehearse(input.device(), [&] { (void)function(made.input); });
    made.graph = base::CudaGraph::record(input.device(), *pool, [&] { made.output = function(made.input); });
    possible = made.graph != nullptr;
    if (!possible) {
      recordings.clear();
      return nullptr;
    }
    recordings.push_front(std::move(made));
    return &recordings.front();
  }

  at::Tensor replay(Recording& recording, const at::Tensor& input) {
    const auto stream = base::current_stream(input.device());
    if (done) done->block(stream);  // another stream's call may still use the memory
    recording.input.copy_(input, /*non_blocking=*/true);
    recording.graph->launch();
    auto output = recording.output.clone();
    if (!done) done.emplace(input.device().type());
    done->record(stream);
    return output;
  }
};

CudaGraphs::CudaGraphs(at::ScalarType type, Function function)
    : impl_(std::make_unique<Impl>(type, std::move(function))) {}
CudaGraphs::~CudaGraphs() = default;

at::Tensor CudaGraphs::run(const at::Tensor& input) const {
  const c10::DeviceGuard device(input.device());
  {
    const std::lock_guard lock(impl_->mutex);
    const Layout layout{input.sizes().vec(), input.strides().vec()};
    auto* recording = impl_->possible ? impl_->find(layout) : nullptr;
    if (!recording && impl_->possible && impl_->came_before(layout)) recording = impl_->record(layout, input);
    if (recording) return impl_->replay(*recording, input);
  }
  return impl_->function(input.to(impl_->type));
}

}  // namespace graft::engine
