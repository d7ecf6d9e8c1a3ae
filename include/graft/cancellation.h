/// Ends calls that take too long or are no longer wanted.
#pragma once

#include <chrono>
#include <stop_token>

#include <graft/export.h>

namespace graft {

/// From here to its end, calls of this thread into the library throw Error kCancelled soon after `stop` is requested or
/// `deadline` has passed: loading, classifying, embedding, training, evaluating, explaining, calibrating and searching.
/// Checked between pieces of work - a block of a file, a batch, a forward pass (of the pictures that are computed
/// together), a step - so that a call goes on for as long as the piece takes that it is in. Files are written whole or
/// not at all, as always.
///
/// What was called is as after any other Error: a loading leaves nothing, a fit leaves the model with the weights of
/// its last whole step (FitOptions::stop ends it with its results and a checkpoint instead), and a const Model can be
/// used on. Scopes nest: an inner one adds to those around it. To be made and destroyed in one thread, last made first
/// destroyed: a local variable.
class GRAFT_EXPORT CancellationScope {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;  ///< the clock of deadlines
  /// Ends calls after a stop, or a deadline; the latest time there is: never.
  explicit CancellationScope(std::stop_token stop, TimePoint deadline = TimePoint::max());
  explicit CancellationScope(TimePoint deadline);  ///< ends calls after it
  ~CancellationScope();
  CancellationScope(const CancellationScope&) = delete;
  CancellationScope& operator=(const CancellationScope&) = delete;

  /// Throws Error kCancelled if a scope of this thread says so: for pieces of a program's own, such as a Dataset.
  static void check();

 private:
  std::stop_token stop_;
  TimePoint deadline_;
  const CancellationScope* outer_;
};

}  // namespace graft
