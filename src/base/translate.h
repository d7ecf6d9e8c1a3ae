/// The library's edge: whatever LibTorch, OpenCV or the standard library throws leaves as a graft::Error, and what
/// LibTorch warns of goes to set_library_warnings' function.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <graft/error.h>

#include "base/warnings.h"

namespace graft::base {

/// Call in a catch block: rethrows a graft::Error as it is and anything else as one, with the original message behind
/// `context` and `subject`. std::bad_alloc and LibTorch's out-of-memory errors become kOutOfMemory, std::filesystem's
/// errors kIo, the rest kInternal. Needs no memory where there is none.
[[noreturn]] void rethrow_as_error(std::string_view context, std::string_view subject = {});

/// False for a lack of memory and a cancellation, which say nothing of the input.
bool is_about_input(ErrorCode code) noexcept;

/// Call in a catch block before an exception is taken for something about the input: anything else goes on, as
/// an Error.
void rethrow_unless_about_input(std::string_view context);

/// What an operator of LibTorch said, without the backtrace, and the traceback of the script, that are wrapped around
/// it.
std::string own_words(std::string message);

/// Calls `function` inside that translation. The context comes in two parts ("saving ", a file's name), since joining
/// them takes memory, too.
template <class Function>
decltype(auto) translated(std::string_view context, std::string_view subject, Function&& function) {
  const CaughtWarnings warnings;
  try {
    return std::forward<Function>(function)();
  } catch (...) {
    rethrow_as_error(context, subject);
  }
}
template <class Function>
decltype(auto) translated(std::string_view context, Function&& function) {
  return translated(context, {}, std::forward<Function>(function));
}

/// Calls `function`; an Error that leaves it says first what it is about: "NAME: ...".
template <class Function>
decltype(auto) named(std::string_view name, Function&& function) {
  try {
    return std::forward<Function>(function)();
  } catch (const Error& error) {
    throw Error(error.code(), std::string(name) + ": " + error.what());
  }
}

}  // namespace graft::base
