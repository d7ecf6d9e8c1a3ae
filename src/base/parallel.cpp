#include "base/parallel.h"

#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define GRAFT_NOT_FOR_TSAN __attribute__((no_sanitize("thread")))
#else
#define GRAFT_NOT_FOR_TSAN
#endif

namespace graft::base {

namespace {

/// Tells the thread sanitizer what OpenMP's run-time, which it cannot see into, guarantees: all that was done before
/// the threads begin is seen by them, and all that they do by who waits for them.
class ForkAndJoin {
 public:
  void fork() { release(&begun_); }
  void begin() { acquire(&begun_); }
  void end() { release(&ended_); }
  void join() { acquire(&ended_); }

 private:
#if defined(__SANITIZE_THREAD__)
  static void release(char* place) { __tsan_release(place); }
  static void acquire(char* place) { __tsan_acquire(place); }
#else
  static void release(char*) {}
  static void acquire(char*) {}
#endif
  char begun_ = 0, ended_ = 0;
};

}  // namespace

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  c10::function_ref<void(std::int64_t, std::int64_t)> work) {
  if (end - begin <= grain) {
    if (begin < end) work(begin, end);
    return;
  }
  // An iterator's loop is shared out inside of LibTorch: one over a byte for each place, which nobody touches.
  at::Tensor places = at::empty({end - begin}, at::kByte);
  auto iterator = at::TensorIterator::nullary_op(places);
  const auto* first = places.const_data_ptr<std::uint8_t>();
  ForkAndJoin threads;
  threads.fork();
  iterator.for_each(
      [&](char** data, const std::int64_t*, std::int64_t inner, std::int64_t outer) GRAFT_NOT_FOR_TSAN {
        const auto from = begin + (reinterpret_cast<const std::uint8_t*>(data[0]) - first);
        threads.begin();
        work(from, from + inner * outer);
        threads.end();
      },
      grain);
  threads.join();
}

}  // namespace graft::base
