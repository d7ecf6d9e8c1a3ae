#include <graft/cancellation.h>

#include <utility>

#include <graft/error.h>

namespace graft {

namespace {

thread_local const CancellationScope* innermost = nullptr;

}  // namespace

CancellationScope::CancellationScope(std::stop_token stop, TimePoint deadline)
    : stop_(std::move(stop)), deadline_(deadline), outer_(std::exchange(innermost, this)) {}
CancellationScope::CancellationScope(TimePoint deadline) : CancellationScope(std::stop_token(), deadline) {}
CancellationScope::~CancellationScope() { innermost = outer_; }

void CancellationScope::check() {
  for (const auto* scope = innermost; scope; scope = scope->outer_) {
    if (scope->stop_.stop_requested()) throw Error(ErrorCode::kCancelled, "cancelled: a stop was requested");
    if (scope->deadline_ != TimePoint::max() && std::chrono::steady_clock::now() >= scope->deadline_)
      throw Error(ErrorCode::kCancelled, "cancelled: the deadline has passed");
  }
}

}  // namespace graft
