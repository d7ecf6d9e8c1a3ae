/// What a network remembers beside its parameters.
#pragma once

#include <memory>

#include "graph/network.h"

namespace graft::graph {

/// A copy of a network's buffers and other attributes, which its forward may write (a counter, the last features). The
/// network has to keep its device meanwhile.
class KeptState {
 public:
  explicit KeptState(const Network& network);
  ~KeptState();
  KeptState(const KeptState&) = delete;
  KeptState& operator=(const KeptState&) = delete;

  /// Puts back what has changed. Values inside of lists and dictionaries stay as they are.
  void restore() const;

 private:
  struct Slot;
  const Network network_;
  std::unique_ptr<const std::vector<Slot>> slots_;
};

}  // namespace graft::graph
