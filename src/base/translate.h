/// The library's edge: whatever LibTorch, OpenCV or the standard library throws leaves as a graft::Error.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <graft/error.h>

namespace graft::base {

/// Call in a catch block: rethrows a graft::Error as it is and anything else as one, with the original message behind
/// `context`. std::bad_alloc and LibTorch's out-of-memory errors become kOutOfMemory, the rest kInternal.
[[noreturn]] void rethrow_as_error(std::string_view context);

/// What an operator of LibTorch said, without the backtrace, and the traceback of the script, that are wrapped around
/// it.
std::string own_words(std::string message);

/// Calls `function` inside that translation.
template <class Function>
decltype(auto) translated(std::string_view context, Function&& function) {
  try {
    return std::forward<Function>(function)();
  } catch (...) {
    rethrow_as_error(context);
  }
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
