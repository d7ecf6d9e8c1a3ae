#include "base/warnings.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include <c10/util/Exception.h>

#include <graft/error.h>

namespace graft {

namespace {

/// Never destroyed: threads may warn while the program ends.
struct Receiver {
  std::mutex mutex;
  std::shared_ptr<const WarningCallback> callback;
};
Receiver& receiver() {
  static auto& one = *new Receiver;
  return one;
}

class Forward final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override { base::warn_of_library("LibTorch", warning.msg()); }
};

thread_local bool caught = false;

}  // namespace

void set_library_warnings(WarningCallback callback) {
  auto next = callback ? std::make_shared<const WarningCallback>(std::move(callback)) : nullptr;
  const std::lock_guard lock(receiver().mutex);
  receiver().callback.swap(next);
}

namespace base {

void warn_of_library(std::string_view library, std::string_view text) noexcept {
  try {
    std::unique_lock lock(receiver().mutex);
    const auto callback = receiver().callback;
    lock.unlock();
    if (!callback) return;
    std::string line = std::string(library) + ": " + std::string(text);
    while (line.ends_with('\n')) line.pop_back();
    std::ranges::replace(line, '\n', ' ');
    (*callback)(line);
  } catch (...) {
    // A warning is worth no failure.
  }
}

CaughtWarnings::CaughtWarnings() noexcept : previous_(nullptr) {
  if (std::exchange(caught, true)) return;
  // Never destroyed, and there also where no memory is.
  alignas(Forward) static std::array<std::byte, sizeof(Forward)> room;
  static auto* const forward = new (room.data()) Forward;
  previous_ = c10::WarningUtils::get_warning_handler();
  c10::WarningUtils::set_warning_handler(forward);
}

CaughtWarnings::~CaughtWarnings() {
  if (!previous_) return;
  c10::WarningUtils::set_warning_handler(previous_);
  caught = false;
}

}  // namespace base
}  // namespace graft
