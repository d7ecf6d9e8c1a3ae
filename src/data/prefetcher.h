/// Work done ahead by several threads and handed out in order: the loader's engine, which knows nothing of pictures.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace graft::data {

/// A job has parts that are done by any thread in any order; jobs are handed out in the order of their numbers.
class Prefetcher {
 public:
  struct Job {
    std::size_t parts = 0;
    std::function<void(std::size_t part)> work;  ///< may throw: next() rethrows the first part's exception by number
  };

  /// At most `ahead` jobs are begun before they are asked for. make(n) is called once for each n below `jobs`, in
  /// order, from the worker threads under a lock. Throws Error kOutOfMemory if there are not so many threads.
  Prefetcher(std::size_t jobs, std::function<Job(std::size_t)> make, int threads, std::size_t ahead);
  /// Parts that are under way are finished, the rest is dropped.
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// Waits until the next job is complete and returns its number; nothing after the last one. Throws Error kCancelled
  /// (graft/cancellation.h).
  std::optional<std::size_t> next();
  /// Whether next() would return a job at once.
  bool is_ready() const;
  /// How many jobs next() has returned, or thrown the exceptions of.
  std::size_t handed_out() const;

 private:
  struct Running {
    Job job;
    std::size_t next_part = 0;
    std::size_t done = 0;
    std::vector<std::pair<std::size_t, std::exception_ptr>> failures;
  };

  void stop();
  void work();
  /// The job with a part to do, begun if need be; null if there is none now.
  Running* claim(std::size_t& part);

  const std::size_t jobs_;
  const std::function<Job(std::size_t)> make_;
  const std::size_t ahead_;

  mutable std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::condition_variable job_done_;
  std::deque<Running> running_;  ///< the front one is handed out next; references stay valid
  std::size_t made_ = 0;
  std::size_t handed_out_ = 0;
  bool stopping_ = false;
  std::exception_ptr make_failure_;
  std::vector<std::jthread> threads_;
};

}  // namespace graft::data
