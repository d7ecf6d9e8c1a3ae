/// A program that has set the user's locale, here a German one: "1.234,5".
#pragma once

#include <clocale>
#include <cstdlib>
#include <locale>
#include <string>

#include "support/scratch.h"

namespace graft::testing {

/// While it lives, the process is in it: in C (setlocale), as well in C++ (std::locale::global) where asked for. One at
/// a time, one thread.
class German {
 public:
  explicit German(bool in_cpp) {
    if (!std::setlocale(LC_ALL, kName)) make();
    works_ = std::setlocale(LC_ALL, kName) != nullptr;
    if (works_ && in_cpp) std::locale::global(std::locale(kName));
  }
  ~German() {
    std::locale::global(before_);
    std::setlocale(LC_ALL, "C");
    ::unsetenv("LOCPATH");
  }
  German(const German&) = delete;
  German& operator=(const German&) = delete;

  /// Otherwise the machine has neither the locale nor what it is made from.
  bool works() const { return works_; }

 private:
  static constexpr const char* kName = "de_DE.UTF-8";

  void make() {
    const std::string command = "localedef -i de_DE -f UTF-8 '" + (scratch_ / kName).string() + "' >/dev/null 2>&1";
    if (std::system(command.c_str()) == 0) ::setenv("LOCPATH", scratch_.path().c_str(), 1);
  }

  Scratch scratch_;
  const std::locale before_;
  bool works_ = false;
};

}  // namespace graft::testing
