/// Warnings of the libraries below.
#pragma once

#include <string_view>

namespace c10 {
class WarningHandler;
}

namespace graft::base {

/// Hands a line to set_library_warnings' function. Newlines become spaces.
void warn_of_library(std::string_view library, std::string_view text) noexcept;

/// While one lives, what LibTorch warns of in this thread goes there, and not to standard error.
class CaughtWarnings {
 public:
  CaughtWarnings() noexcept;
  ~CaughtWarnings();
  CaughtWarnings(const CaughtWarnings&) = delete;
  CaughtWarnings& operator=(const CaughtWarnings&) = delete;

 private:
  c10::WarningHandler* previous_;  ///< null: one around this does it, or somebody between them who knows better
};

}  // namespace graft::base
