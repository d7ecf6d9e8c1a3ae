#include "data/prefetcher.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include <graft/cancellation.h>
#include <graft/error.h>

#include "base/warnings.h"

namespace graft::data {

namespace {

constexpr std::chrono::milliseconds kBetweenChecks{20};

}  // namespace

Prefetcher::Prefetcher(std::size_t jobs, std::function<Job(std::size_t)> make, int threads, std::size_t ahead)
    : jobs_(jobs), make_(std::move(make)), ahead_(std::max<std::size_t>(ahead, 1)) {
  try {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    stop();
    throw Error(ErrorCode::kOutOfMemory, "loader: of " + std::to_string(threads) + " threads only " +
                                             std::to_string(threads_.size()) + " can be had: " + error.what());
  }
}

Prefetcher::~Prefetcher() { stop(); }

void Prefetcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_to_do_.notify_all();
}

std::optional<std::size_t> Prefetcher::next() {
  std::unique_lock lock(mutex_);
  if (handed_out_ == jobs_) return std::nullopt;
  const auto is_there = [&] {
    return running_.empty() ? make_failure_ != nullptr : running_.front().done == running_.front().job.parts;
  };
  CancellationScope::check();
  while (!job_done_.wait_for(lock, kBetweenChecks, is_there)) CancellationScope::check();
  if (running_.empty()) std::rethrow_exception(make_failure_);
  auto failures = std::move(running_.front().failures);
  running_.pop_front();
  const std::size_t number = handed_out_++;
  lock.unlock();
  work_to_do_.notify_all();
  if (!failures.empty())
    std::rethrow_exception(
        std::min_element(failures.begin(), failures.end(), [](auto& a, auto& b) { return a.first < b.first; })->second);
  return number;
}

std::size_t Prefetcher::handed_out() const {
  const std::lock_guard lock(mutex_);
  return handed_out_;
}

bool Prefetcher::is_ready() const {
  const std::lock_guard lock(mutex_);
  return !running_.empty() && running_.front().done == running_.front().job.parts && running_.front().failures.empty();
}

Prefetcher::Running* Prefetcher::claim(std::size_t& part) {
  for (auto& running : running_) {
    if (running.next_part == running.job.parts) continue;
    part = running.next_part++;
    return &running;
  }
  if (made_ == jobs_ || running_.size() >= ahead_ || make_failure_) return nullptr;
  try {
    running_.push_back({make_(made_++), 0, 0, {}});
  } catch (...) {
    make_failure_ = std::current_exception();
    job_done_.notify_all();
    return nullptr;
  }
  if (running_.back().job.parts == 0) job_done_.notify_all();
  return claim(part);
}

void Prefetcher::work() {
  const base::CaughtWarnings warnings;
  std::unique_lock lock(mutex_);
  for (;;) {
    std::size_t part = 0;
    Running* running = nullptr;
    work_to_do_.wait(lock, [&] { return stopping_ || (running = claim(part)) != nullptr; });
    if (stopping_) return;
    lock.unlock();
    std::exception_ptr failure;
    try {
      running->job.work(part);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) running->failures.emplace_back(part, failure);
    if (++running->done == running->job.parts) job_done_.notify_all();
  }
}

}  // namespace graft::data
