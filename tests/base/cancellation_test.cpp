#include <graft/cancellation.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace graft {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

TEST(Cancellation, WithoutAScopeNothingIsCancelled) { EXPECT_NO_THROW(CancellationScope::check()); }

TEST(Cancellation, AStop) {
  std::stop_source source;
  {
    const CancellationScope scope(source.get_token());
    EXPECT_NO_THROW(CancellationScope::check());
    source.request_stop();
    EXPECT_GRAFT_ERROR(CancellationScope::check(), kCancelled, "a stop was requested");
  }
  EXPECT_NO_THROW(CancellationScope::check());
}

TEST(Cancellation, ADeadline) {
  const CancellationScope far(Clock::now() + 1h);
  EXPECT_NO_THROW(CancellationScope::check());
  const CancellationScope past(Clock::now());
  EXPECT_GRAFT_ERROR(CancellationScope::check(), kCancelled, "the deadline has passed");
}

TEST(Cancellation, AnInnerScopeAddsToTheOuter) {
  std::stop_source outer, inner;
  const CancellationScope a(outer.get_token());
  {
    const CancellationScope b(inner.get_token(), Clock::now() + 1h);
    EXPECT_NO_THROW(CancellationScope::check());
    outer.request_stop();
    EXPECT_GRAFT_ERROR(CancellationScope::check(), kCancelled, "a stop");
  }
  EXPECT_GRAFT_ERROR(CancellationScope::check(), kCancelled, "a stop");
}

TEST(Cancellation, IsOfItsThreadAlone) {
  const CancellationScope past(Clock::now());
  std::thread([] { EXPECT_NO_THROW(CancellationScope::check()); }).join();
}

}  // namespace
}  // namespace graft
