/// What a process asks of the system and of the heap, made to fail: this program's own definitions of write(), fsync(),
/// rename(), operator new and so on stand before those of the C and C++ libraries, also for LibTorch and libstdc++.
///
/// System calls of the arming thread count, whoever makes them. Allocations count where Graft asks for them, itself or
/// by way of libstdc++, and where LibTorch asks for a tensor's memory; what else LibTorch allocates does not. Two are
/// left out: allocations of nlohmann's JSON in its destructors, and of LibTorch in those of its writer of archives.
#pragma once

#include <string>

namespace graft::testing {

enum class Resource { kSystem, kMemory };

enum class Effect {
  kFail,   ///< the call fails, with an errno that it may have; an allocation throws std::bad_alloc or yields null
  kShort,  ///< write() takes half of the bytes; other calls do what they should
  kKill,   ///< SIGKILL instead of the call
  kTear,   ///< SIGKILL in the middle of a write(): half of the bytes are written; instead of any other call
};

struct Fault {
  Resource resource = Resource::kSystem;
  Effect effect = Effect::kFail;
  long at = 0;                ///< the call that it hits, counted from 0
  bool from_then_on = false;  ///< and all calls behind it
};

/// While it lives, the fault is in force on this thread. One at a time.
class Armed {
 public:
  explicit Armed(const Fault& fault);
  ~Armed();
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

  /// Whether there was such a call.
  bool hit() const;
  /// The name of the first call that was hit: "fsync". Empty if there was none.
  std::string call() const;
};

}  // namespace graft::testing
