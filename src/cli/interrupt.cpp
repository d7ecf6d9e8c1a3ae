#include "cli/interrupt.h"

#include <csignal>
#include <ctime>

#include <pthread.h>
#include <unistd.h>

namespace graft::cli {

namespace {

constexpr int kShellOffset = 128;

sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Interruption::Interruption(const Common& common) {
  const auto set = signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waiting_ = std::jthread([this, set, &common](const std::stop_token& done) {
    constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!done.stop_requested()) {
      const int signal = ::sigtimedwait(&set, nullptr, &kLook);
      if (signal <= 0) continue;
      if (source_.stop_requested()) ::_exit(kShellOffset + signal);
      signal_ = signal;
      source_.request_stop();
      note(common, "stopping after this step; once more to stop at once");
    }
  });
}

Interruption::~Interruption() {
  waiting_.request_stop();
  waiting_.join();
  const auto set = signals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Interruption::rethrow() const {
  if (source_.stop_requested()) throw Interrupted{signal_};
}

}  // namespace graft::cli
