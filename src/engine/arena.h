/// Memory that a network's intermediate results use again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

namespace graft::engine {

/// Keeps what is freed for the next tensor, also of the next run: large blocks from malloc go back to the system when
/// they are freed, and getting them page by page again costs up to half of a run in bfloat16.
class Arena {
 public:
  Arena();
  ~Arena();  ///< blocks that are still in use live on
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Size of the largest tensor that was asked for since the last call of this.
  std::size_t take_largest();

  /// Memory for one operator: an uninitialised tensor of bytes, of the arena that is in use on this thread, if there is
  /// one. take_largest() does not count it.
  static at::Tensor scratch(std::int64_t bytes);

  /// While one exists, new CPU tensors that operators make on this thread are the arena's. Nothing changes where
  /// LibTorch does not allow it (Arena::available()).
  class Use {
   public:
    explicit Use(Arena& arena);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    c10::Allocator* previous_;
    bool was_included_;
  };

  static bool available();

 private:
  class Blocks;
  std::shared_ptr<Blocks> blocks_;
};

}  // namespace graft::engine
