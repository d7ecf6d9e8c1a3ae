/// SIGINT and SIGTERM while a command works: asked to stop, it finishes what it is at and saves.
#pragma once

#include <stop_token>
#include <thread>

#include "cli/common.h"

namespace graft::cli {

/// While this lives, the first signal is a request to stop; a second one ends the process at once.
/// To be made before other threads are: they inherit that signals are left to the one that waits for them.
class Interruption {
 public:
  explicit Interruption(const Common& common);
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  /// Throws Interrupted if there was a signal.
  void rethrow() const;

 private:
  std::stop_source source_;
  int signal_ = 0;  ///< written before the request to stop
  std::jthread waiting_;
};

/// Ends the program with 128 + signal.
struct Interrupted {
  int signal;
};

}  // namespace graft::cli
