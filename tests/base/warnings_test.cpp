#include "base/warnings.h"

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/error.h>

#include "base/translate.h"

namespace graft::base {
namespace {

using ::testing::ElementsAre;

/// What the callback gets, for the time of a test.
class Received {
 public:
  Received() {
    set_library_warnings([this](std::string_view line) { lines.emplace_back(line); });
  }
  ~Received() { set_library_warnings({}); }
  std::vector<std::string> lines;
};

std::string printed_by(const auto& function) {
  ::testing::internal::CaptureStderr();
  function();
  return ::testing::internal::GetCapturedStderr();
}

TEST(LibraryWarnings, OfLibTorchGoToTheCallbackInALine) {
  const Received received;
  const auto printed = printed_by([] { translated("working", [] { TORCH_WARN("first\nsecond\n"); }); });
  EXPECT_THAT(received.lines, ElementsAre("LibTorch: first second"));
  EXPECT_EQ(printed, "");
}

TEST(LibraryWarnings, GoNowhereWithoutACallback) {
  EXPECT_EQ(printed_by([] { translated("working", [] { TORCH_WARN("unheard"); }); }), "");
}

TEST(LibraryWarnings, OutsideOfTheLibraryAreNotItsConcern) {
  const Received received;
  const auto* before = c10::WarningUtils::get_warning_handler();
  translated("working", [] { translated("within", [] {}); });
  EXPECT_EQ(c10::WarningUtils::get_warning_handler(), before);
  EXPECT_ANY_THROW(translated("failing", [] { throw std::runtime_error("x"); }));
  EXPECT_EQ(c10::WarningUtils::get_warning_handler(), before);
  EXPECT_NE(printed_by([] { TORCH_WARN("the program's own"); }), "");
  EXPECT_THAT(received.lines, ElementsAre());
}

TEST(LibraryWarnings, OfOtherThreadsAreNotTouched) {
  const CaughtWarnings caught;
  const auto* here = c10::WarningUtils::get_warning_handler();
  std::thread([&] { EXPECT_NE(c10::WarningUtils::get_warning_handler(), here); }).join();
}

TEST(LibraryWarnings, ACallbackThatThrowsIsNoFailure) {
  set_library_warnings([](std::string_view) { throw std::runtime_error("planted"); });
  EXPECT_NO_THROW(translated("working", [] { TORCH_WARN("x"); }));
  set_library_warnings({});
}

}  // namespace
}  // namespace graft::base
